"""How entangled a forget and a retain set are, before any training: words, documents and, with a model, activations."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from srmu.errors import InputError
from srmu.inputs.corpora import Corpus, make_corpus, read_corpus
from srmu.inputs.near_duplicates import near_duplicates
from srmu.inputs.overlap import Overlap, overlap, same_documents
from srmu.runtime.progress import Reporter

# The paper's hard case, arXiv 2512.16297: unigram overlap of 20.8 % (WMDP Bio) and 27.5 % (WMDP Cyber).
PAPER_HARD_CASE = (0.208, 0.275)
PAPER_NOTE = (
    "The SRMU paper (arXiv 2512.16297) reports a unigram overlap of 20.8 % (WMDP Bio) and 27.5 % (WMDP Cyber) for its "
    "hard case and does not say how it counts it. This project compares the Jaccard index of word types with it."
)
STRONG, SOME = 0.20, 0.10
NEAR_DUPLICATE = 0.7
ROW_TOKENS = 128
FEW_ROWS = 8


def measure_overlap(
    forget: Sequence[str],
    retain: Sequence[str],
    *,
    text_field: str = "auto",
    model: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    trust_remote_code: bool = False,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Measure everything that `srmu overlap` reports.

    Args:
        forget: Files, folders or hub data sets.
        retain: Likewise; `self` is not possible, since those texts do not exist yet.
        text_field: Field with the text in records, or a template; `auto` = recognised by their fields.
        model: Checkpoint directory or hub id; adds the layers' separability and importance maps.
        device: Where the model runs.
        dtype: Its compute dtype.
        trust_remote_code: Run model code that comes with the checkpoint.
        reporter: Hears of stages and progress.

    Returns:
        JSON values; no text. Documents are named by their position, from 0, in reading order.

    Raises:
        InputError: Texts or model are wrong.
    """
    reporter = reporter or Reporter()
    if "self" in (*forget, *retain):
        raise InputError("Overlap needs texts that exist; 'self' is written during the run. Name files instead.")
    corpora = {
        role: read_corpus(sources, text_field=text_field, role=role)
        for role, sources in (("forget", forget), ("retain", retain))
    }
    texts = {role: [document.as_text() for document in corpus.documents] for role, corpus in corpora.items()}
    with reporter.task("Comparing words and documents") as progress:
        counted = overlap(texts["forget"], texts["retain"])
        progress(1, 2)
        record = _word_record(counted) | _document_record(texts["forget"], texts["retain"])
        progress(2, 2)
    record = {role: _corpus_record(corpus) for role, corpus in corpora.items()} | record
    if model is not None:
        record["model"] = _model_record(model, corpora, device, dtype, trust_remote_code, reporter)
    record["warnings"] = _warnings(record)
    record["verdict"] = _verdict(record)
    return record


def _corpus_record(corpus: Corpus) -> dict[str, Any]:
    return {"documents": len(corpus.documents), "dropped": corpus.num_dropped, "sha256": corpus.sha256}


def _word_record(counted: Overlap) -> dict[str, Any]:
    def both(n: int) -> dict[str, Any]:
        return asdict(counted.words[n]) | {"without_stop_words": asdict(counted.content_words[n])}

    hard_case = dict(zip(("wmdp_bio", "wmdp_cyber"), PAPER_HARD_CASE, strict=True))
    return {
        "unigram": both(1),
        "ngrams": {str(n): both(n) for n in counted.words if n > 1},
        "paper": {"unigram_overlap": hard_case, "compared_with": "unigram.jaccard", "note": PAPER_NOTE},
    }


def _document_record(forget: Sequence[str], retain: Sequence[str]) -> dict[str, Any]:
    same = same_documents(forget, retain)
    try:
        pairs = near_duplicates(forget, retain, threshold=NEAR_DUPLICATE)
    except InputError as error:
        return {"same_documents": list(same), "near_duplicates": {"not_measured": str(error)}}
    near = [asdict(pair) for pair in pairs if pair.forget not in same]
    return {
        "same_documents": list(same),
        "near_duplicates": {"method": "MinHash, three successive words", "threshold": NEAR_DUPLICATE, "pairs": near},
    }


def _model_record(
    model: str, corpora: dict[str, Corpus], device: str, dtype: str, trust_remote_code: bool, reporter: Reporter
) -> dict[str, Any]:
    from srmu.config.groups import TargetConfig
    from srmu.evaluation.loading import load_tokenizer
    from srmu.inputs.rows import tokenize_rows
    from srmu.job.separability import MASSIVE_MAGNITUDE, MASSIVE_RATIO, summarize_layers
    from srmu.runtime.devices import choose_device
    from srmu.runtime.precision import check_dtype, choose_dtype
    from srmu.surgery.checkpoint import open_checkpoint, resolve_model
    from srmu.surgery.layers import auto_layer
    from srmu.surgery.truncate import load_truncated, text_config

    checkpoint = open_checkpoint(resolve_model(model, None))
    depth = text_config(checkpoint, trust_remote_code=trust_remote_code).num_hidden_layers
    place = choose_device(device)
    tokenizer = load_tokenizer(checkpoint.path, trust_remote_code=trust_remote_code)
    truncated = load_truncated(
        checkpoint,
        depth,
        dtype=choose_dtype(check_dtype(dtype), place, checkpoint.dtypes),
        device=place,
        trust_remote_code=trust_remote_code,
    )
    rows = {
        role: tokenize_rows(_some_documents(corpus), tokenizer, max_length=ROW_TOKENS, vocab_size=truncated.vocab_size)
        for role, corpus in corpora.items()
    }
    with reporter.task("Activations of every layer") as progress:
        layers = summarize_layers(truncated, rows["forget"], rows["retain"], progress=progress)
    return {
        "family": truncated.family,
        "hidden_size": truncated.hidden_size,
        "default_layer": auto_layer(depth),
        "statistic": TargetConfig().statistic,
        "massive_above": {"magnitude": MASSIVE_MAGNITUDE, "ratio_to_median": MASSIVE_RATIO},
        "layers": [asdict(layer) for layer in layers],
    }


def _some_documents(corpus: Corpus, at_most: int = 512) -> Corpus:
    """Evenly spaced documents of a large corpus; the rows that are measured come from them."""
    documents = corpus.documents[:: -(-len(corpus.documents) // at_most)]
    return make_corpus(documents, corpus.source, corpus.num_dropped)


def _warnings(record: dict[str, Any]) -> list[str]:
    warnings = []
    same, total = len(record["same_documents"]), record["forget"]["documents"]
    if same:
        verb = "document also stands" if same == 1 else "documents also stand"
        warnings.append(
            f"{same} of {total} forget {verb} in the retain set: the run is asked to forget and to keep the same text. "
            "Take it out of one of them."
        )
    near = record["near_duplicates"]
    if near.get("pairs"):
        warnings.append(
            f"{len(near['pairs'])} of {total} forget documents have a near-duplicate in the retain set (three-word "
            f"similarity {near['threshold']} or more). Look at them before training."
        )
    if "not_measured" in near:
        warnings.append(f"Near-duplicates were not looked for. {near['not_measured']}")
    if "model" in record:
        counts = record["model"]["layers"][0]["heldout_rows"]
        if min(counts) < FEW_ROWS:
            warnings.append(
                f"The layers' AUC rests on {counts[0]} forget and {counts[1]} retain rows that were held out, too few "
                f"to trust. Give {2 * FEW_ROWS} texts or more on each side."
            )
    return warnings


def _verdict(record: dict[str, Any]) -> str:
    """One paragraph in plain words; every number in it stands in the record."""
    unigram = record["unigram"]
    jaccard, contained = unigram["jaccard"], unigram["containment"]
    if jaccard >= STRONG:
        grade = "strongly entangled, as in the paper's hard case or beyond"
        advice = "Expect forgetting to cost nearby knowledge: measure it with questions on what must stay"
    elif jaccard >= SOME:
        grade = "somewhat entangled, below the paper's hard case"
        advice = "Measure what must stay with questions of its own"
    else:
        grade = "little entangled by their words"
        advice = "These retain texts hardly speak of what lies next to the forget texts, so they do not protect it"
    sentences = [
        f"The two sets are {grade}: they share {100 * jaccard:.1f} % of all word types, and "
        f"{100 * contained:.1f} % of the forget texts' word types also stand in the retain texts. {advice}."
    ]
    if "model" in record:
        layers = record["model"]["layers"]
        best = max(layers, key=lambda layer: layer["auc"])
        tapped = layers[record["model"]["default_layer"]]
        sentences.append(
            f"The model tells a forget token from a retain token best at layer {best['layer']} "
            f"(AUC {best['auc']:.3f}, where 0.5 is chance); at the default layer {tapped['layer']} it is "
            f"{tapped['auc']:.3f}."
        )
    return " ".join(sentences)


def shared_rows(record: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Label and counts of every n-gram length, with and without stop words, for tables."""
    lengths = {"words": record["unigram"]} | {f"{n} words": entry for n, entry in record["ngrams"].items()}
    rows = []
    for label, entry in lengths.items():
        rows += [(label, entry), (f"{label}, no stop words", entry["without_stop_words"])]
    return rows
