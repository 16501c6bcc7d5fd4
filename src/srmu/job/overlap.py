"""How entangled a forget and a retain set are, before any training: words, documents and, with a model, activations."""

from collections.abc import Sequence
from dataclasses import asdict

from srmu.errors import InputError
from srmu.inputs.corpora import Corpus, make_corpus, read_corpus
from srmu.inputs.near_duplicates import near_duplicates
from srmu.inputs.overlap import Overlap, overlap, same_documents
from srmu.results.overlap_records import (
    CorpusCount,
    MassiveAbove,
    ModelOverlap,
    NearDuplicates,
    NotMeasured,
    OverlapReport,
    PaperOverlap,
    Shared,
    SharedWords,
)
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
) -> OverlapReport:
    """Measure everything that `srmu overlap` reports.

    Args:
        forget: Files, folders or hub data sets.
        retain: The same; `self` is not possible, since those texts do not exist yet.
        text_field: Field with the text in records, or a template; `auto` = recognised by their fields.
        model: Checkpoint directory or hub id; adds the layers' separability and importance maps.
        device: Where the model runs.
        dtype: Its compute dtype.
        trust_remote_code: Run model code that comes with the checkpoint.
        reporter: Hears of stages and progress.

    Returns:
        The report, which holds no text. Documents are named by their position, from 0, in reading order.

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
        same = same_documents(texts["forget"], texts["retain"])
        near = _near_duplicates(texts["forget"], texts["retain"], same)
        progress(2, 2)
    counts = {role: _count(corpus) for role, corpus in corpora.items()}
    unigram = _shared_words(counted, 1)
    of_model = None if model is None else _measure_model(model, corpora, device, dtype, trust_remote_code, reporter)
    hard_case = dict(zip(("wmdp_bio", "wmdp_cyber"), PAPER_HARD_CASE, strict=True))
    return OverlapReport(
        forget=counts["forget"],
        retain=counts["retain"],
        unigram=unigram,
        ngrams={str(n): _shared_words(counted, n) for n in counted.words if n > 1},
        paper=PaperOverlap(hard_case, compared_with="unigram.jaccard", note=PAPER_NOTE),
        same_documents=same,
        near_duplicates=near,
        model=of_model,
        warnings=tuple(_warnings(counts["forget"].documents, same, near, of_model)),
        verdict=_verdict(unigram, of_model),
    )


def _count(corpus: Corpus) -> CorpusCount:
    return CorpusCount(documents=len(corpus.documents), dropped=corpus.num_dropped, sha256=corpus.sha256)


def _shared_words(counted: Overlap, n: int) -> SharedWords:
    return SharedWords(**asdict(counted.words[n]), without_stop_words=counted.content_words[n])


def _near_duplicates(forget: Sequence[str], retain: Sequence[str], same: Sequence[int]) -> NearDuplicates | NotMeasured:
    try:
        pairs = near_duplicates(forget, retain, threshold=NEAR_DUPLICATE)
    except InputError as error:
        return NotMeasured(str(error))
    near = tuple(pair for pair in pairs if pair.forget not in same)
    return NearDuplicates("MinHash, three successive words", NEAR_DUPLICATE, near)


def _measure_model(
    model: str, corpora: dict[str, Corpus], device: str, dtype: str, trust_remote_code: bool, reporter: Reporter
) -> ModelOverlap:
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
    return ModelOverlap(
        family=truncated.family,
        hidden_size=truncated.hidden_size,
        default_layer=auto_layer(depth),
        statistic=TargetConfig().statistic,
        massive_above=MassiveAbove(MASSIVE_MAGNITUDE, MASSIVE_RATIO),
        layers=tuple(layers),
    )


def _some_documents(corpus: Corpus, at_most: int = 512) -> Corpus:
    """Evenly spaced documents of a large corpus; the rows that are measured come from them."""
    documents = corpus.documents[:: -(-len(corpus.documents) // at_most)]
    return make_corpus(documents, corpus.source, corpus.num_dropped)


def _warnings(
    total: int, same: Sequence[int], near: NearDuplicates | NotMeasured, model: ModelOverlap | None
) -> list[str]:
    warnings = []
    if same:
        verb = "document is also" if len(same) == 1 else "documents are also"
        warnings.append(
            f"{len(same)} of {total} forget {verb} in the retain set: the run is asked to forget and to keep the same "
            "text. Take it out of one of them."
        )
    if isinstance(near, NotMeasured):
        warnings.append(f"Near-duplicates were not looked for. {near.not_measured}")
    elif near.pairs:
        warnings.append(
            f"{len(near.pairs)} of {total} forget documents have a near-duplicate in the retain set (three-word "
            f"similarity {near.threshold} or more). Look at them before training."
        )
    if model is not None:
        counts = model.layers[0].heldout_rows
        if min(counts) < FEW_ROWS:
            warnings.append(
                f"The layers' AUC rests on {counts[0]} forget and {counts[1]} retain rows that were held out, too few "
                f"to trust. Give {2 * FEW_ROWS} texts or more on each side."
            )
    return warnings


def _verdict(unigram: Shared, model: ModelOverlap | None) -> str:
    """One paragraph in plain words; every number in it stands in the report."""
    if unigram.jaccard >= STRONG:
        grade = "strongly entangled, as in the paper's hard case or beyond"
        advice = "Expect forgetting to cost nearby knowledge: measure it with questions on what must stay"
    elif unigram.jaccard >= SOME:
        grade = "somewhat entangled, below the paper's hard case"
        advice = "Measure what must stay with questions of its own"
    else:
        grade = "little entangled by their words"
        advice = "These retain texts hardly speak of what lies next to the forget texts, so they do not protect it"
    sentences = [
        f"The two sets are {grade}: they share {100 * unigram.jaccard:.1f} % of all word types, and "
        f"{100 * unigram.containment:.1f} % of the forget texts' word types also occur in the retain texts. {advice}."
    ]
    if model is not None:
        best = max(model.layers, key=lambda layer: layer.auc)
        tapped = model.layers[model.default_layer]
        sentences.append(
            f"The model tells a forget token from a retain token best at layer {best.layer} "
            f"(AUC {best.auc:.3f}, where 0.5 is chance); at the default layer {tapped.layer} it is "
            f"{tapped.auc:.3f}."
        )
    return " ".join(sentences)


def shared_rows(report: OverlapReport) -> list[tuple[str, Shared]]:
    """Label and counts of every n-gram length, with and without stop words, for tables."""
    lengths = {"words": report.unigram} | {f"{n} words": entry for n, entry in report.ngrams.items()}
    rows: list[tuple[str, Shared]] = []
    for label, entry in lengths.items():
        rows += [(label, entry), (f"{label}, no stop words", entry.without_stop_words)]
    return rows
