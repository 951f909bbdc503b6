"""docs/variants.md names every word of the contract and every reason."""

import re
from pathlib import Path

from se_deploy import op
from se_deploy.graph.reasons import REASONS

PAGE = (Path(__file__).parents[2] / "docs/variants.md").read_text()


def test_every_word_of_the_contract_is_on_the_page() -> None:
    for kind, words in (("act", op.ACTS), ("gate", op.GATES), ("skip", op.SKIPS), ("epilogue", op.EPILOGUES)):
        listed = {word for row in re.findall(rf"^\| {kind} (.*?) \|", PAGE, re.MULTILINE) for word in re.findall(r"`(\w+)`", row)}
        assert listed == set(words)


def test_every_reason_is_on_the_page_in_its_words() -> None:
    rows = dict(re.findall(r"^\| `([\w-]+)` \| (.*?) \| .*\|$", PAGE.partition("## Near misses")[2], re.MULTILINE))
    assert rows == {name: text.partition("; ")[0] for name, text in REASONS.items()}
