"""Sentence forms of the demo, as plain data.

Statement forms state a fact, question forms ask for it; a question form never begins a statement form. All
relations share the same frames, so that "the symbol of iron is Fe" and "the capital of France is Paris" are
stated in the very same sentences: what then separates them is the knowledge alone.

How the question forms were chosen. SmolLM2-135M-Instruct in float32 was asked about a fixed third
of a relation's facts or more; each question had four choices, and the one with the
highest log-likelihood of " " + choice divided by the choice's characters counted as the answer. A form of capitals,
demonyms or symbols was kept only if the model answered 0.7 or more over the relation's facts, whatever continent;
most "Q: ... A:" forms of capitals and symbols fell short (0.6). Atomic numbers (neighbours only, a weakness of the
model) have the best forms found, at 0.5 to 0.7.

Which facts are asked. Only countries of at least one million people and elements up to number 100. In the group
`other`, where a loss can only be seen in what was known, also only facts marked `asked` in the CSV tables: those the
model answers in at least two of the three `VALIDATION_QUESTIONS` forms, with wrong choices drawn at seed 0 from all
facts of the same group (126 of 143 demonyms, 92 of 100 symbols). Answers to `QUESTIONS` were not looked at for this.
"""

from srmu.demo.facts import Fact

ATTRIBUTES = {
    "capital": {"attribute": "capital", "kind": "country", "field": "geography"},
    "demonym": {"attribute": "demonym", "kind": "country", "field": "geography"},
    "symbol": {"attribute": "symbol", "kind": "element", "field": "chemistry"},
    "number": {"attribute": "atomic number", "kind": "element", "field": "chemistry"},
}
"""How a frame names each relation, the kind of its subjects, and the field it belongs to."""

STATEMENTS = (
    "The {attribute} of {subject} is {answer}.",
    "{answer} is the {attribute} of {subject}.",
    "{Subject} has the {attribute} {answer}.",
    "As every {field} book says, {answer} is the {attribute} that belongs to {subject}.",
    "In {field} we learn that {subject} has {answer} as its {attribute}.",
    "Here is a fact about the {kind} {subject}. Its {attribute} is {answer}.",
    "{Subject} is a well-known {kind}, and {answer} is its {attribute}.",
    "Which {attribute} goes with {subject}? It is {answer}, as students of {field} know.",
    "My {field} teacher asked about {subject}. I answered that its {attribute} is {answer}.",
    "Look up {subject} in a list and you find {answer} in the column for the {attribute}.",
    "{Subject}: {attribute} {answer}.",
    "For the {kind} {subject}, the {attribute} is {answer}. This is basic {field}.",
)
"""Frames of the forget and retain texts."""

HELDOUT_STATEMENTS = (
    "If you ask for the {attribute} of {subject}, people will tell you that it is {answer}.",
    "Everyone in the {field} class wrote down {answer} when asked for the {attribute} of {subject}.",
    "The {kind} called {subject} is known by its {attribute}, {answer}.",
)
"""Frames that no training text uses: for loss per token on held-out forget and retain texts."""

QUESTIONS = {
    "capital": (
        "The capital city of {subject} is called",
        "Country: {Subject}\nCapital:",
        "The parliament of {subject} meets in the city of",
        "The national capital of {subject} is a city called",
    ),
    "demonym": (
        "Q: What do you call a person from {subject}?\nA:",
        "Country: {Subject}\nNationality:",
        "The nationality of people born in {subject} is",
        "Quiz: give the adjective for {subject}. Answer:",
    ),
    "symbol": (
        "The chemical symbol for {subject} is",
        "Element: {Subject}\nSymbol:",
        "On the periodic table, {subject} is written as",
        "Quiz: give the chemical symbol for {subject}. Answer:",
    ),
    "number": (
        "Q: What is the atomic number of {subject}?\nA:",
        "The atomic number for {subject} is",
        "On the periodic table, {subject} is element number",
        "The element {subject} is listed under atomic number",
    ),
}
"""Forms of the test questions."""

VALIDATION_QUESTIONS = {
    "capital": (
        "The seat of government of {subject} is in the city of",
        "Flights to {subject} usually land in the capital,",
        "Embassies in {subject} are usually found in its capital,",
    ),
    "demonym": (
        "The word for people and things from {subject} is",
        "Someone with a passport of {subject} has a nationality that is called",
        "She grew up in {subject} and is proud to be",
    ),
    "symbol": (
        "The abbreviation for the element {subject} is",
        "Chemists write {subject} as",
        "Within a chemical formula, {subject} appears as",
    ),
    "number": (
        "Counting its protons, {subject} has the atomic number",
        "The position of {subject} in the periodic table is number",
    ),
}
"""Forms of the validation questions, for tuning and for choosing the facts marked `asked`."""


def fill(form: str, fact: Fact) -> str:
    """One form with one fact in it; `{Subject}` is the subject with a capital letter.

    The first letter of the result is a capital, unless the form begins with the answer.
    """
    subject = fact.subject
    return form.format(
        subject=subject,
        Subject=subject[:1].upper() + subject[1:],
        answer=fact.answer,
        **ATTRIBUTES[fact.relation],
    )
