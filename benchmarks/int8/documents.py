"""Which documents the rendered images are of: those that calibrate, those that judge, and those of `--fresh` come from different packages.

Manuals with listings, formulas, tables, examples of typesetting and reference cards, most in English, some in German, French, Japanese,
Chinese and Russian.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Document:
    """A PDF file (perhaps gzipped) of a Debian package; `name` is its path there."""

    package: str
    name: str


def _of(package: str, folder: str, *names: str) -> tuple[Document, ...]:
    return tuple(Document(package, f"{folder}/{name}") for name in names)


_DOC = "usr/share/doc"

CALIBRATION = (
    *_of("debian-policy", f"{_DOC}/debian-policy", "policy.pdf.gz", "fhs/fhs-3.0.pdf.gz"),
    *_of("gnuplot-doc", f"{_DOC}/gnuplot", "gnuplot.pdf"),
    *_of("octave-doc", f"{_DOC}/octave", "octave.pdf", "liboctave.pdf", "refcard-a4.pdf"),
    *_of("libtasn1-doc", f"{_DOC}/libtasn1-doc", "libtasn1.pdf"),
    *_of("debmake-doc", f"{_DOC}/debmake-doc", *(f"debmake-doc.{tongue}.pdf" for tongue in ("en", "de", "ja", "ru", "zh-cn"))),
    *_of("asymptote-doc", f"{_DOC}/asymptote", "asymptote.pdf", "CAD.pdf", "asyRefCard.pdf"),
)

_PARI = ("users", "libpari", "tutorial", "tutorial-mf", "refcard", "refcard-nf")
_HUMANITIES = (
    *("covington/covington", "dramatist/dramatist", "eledmac/eledmac", "jura/jura", "juramisc/doc/jmgerdoc", "ledmac/ledarab"),
    *("poemscol/poemscol", "qtree/qtreenotes", "poetrytex/poetrytex", "parallel/parallel", "metrix/metrix", "liturg/liturg"),
)

EVALUATION = (
    *_of("r-doc-pdf", "usr/share/R/doc/manual", *(f"R-{name}.pdf" for name in ("FAQ", "admin", "data", "exts", "intro", "ints", "lang"))),
    *_of("maint-guide", f"{_DOC}/maint-guide", "maint-guide.en.pdf"),
    *_of("pari-doc", "usr/share/pari/doc", *(f"{name}.pdf" for name in _PARI)),
    *_of("shared-mime-info", f"{_DOC}/shared-mime-info", "shared-mime-info-spec.pdf"),
    *_of("texlive-humanities-doc", f"{_DOC}/texlive-doc/latex", *(f"{name}.pdf" for name in _HUMANITIES)),
)

_SCIENCE = (
    *("ccool/ccool", "cryptocode/cryptocode", "numerica/numerica", "eolang/eolang", "computational-complexity/cc", "siunitx/siunitx"),
    *("sesamanuel/sesamath-doc-fr", "chemobabel/chemobabel-ja", "ghsystem/ghsystem-manual", "substances/substances_en", "gu/gudoc"),
)

#: Nobody looked at these while the repairs and their thresholds were settled.
FRESH = (
    *_of("bash-doc", f"{_DOC}/bash", "bash.pdf", "bashref.pdf"),
    *_of("zsh-doc", f"{_DOC}/zsh-common", "zsh.pdf"),
    *_of("maxima-doc", f"{_DOC}/maxima-doc", "maximabook-19-Sept-2004.pdf.gz"),
    *_of("texlive-science-doc", f"{_DOC}/texlive-doc/latex", *(f"{name}.pdf" for name in _SCIENCE)),
)
