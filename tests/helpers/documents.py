"""The pages that users read, taken apart: commands, sessions, Python, links, anchors."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from places import ROOT

INLINE = re.compile(r"`((?:python |\.venv/bin/|fcnrt |make |pip )[^`]*)`")


@dataclass(frozen=True)
class Session:
    """A command as a page shows it, and the output below it; None where the page shows none."""

    command: str
    output: str | None = None


@dataclass(frozen=True)
class Page:
    path: Path

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def prose(self) -> str:
        """The text on one line, for phrases that are wrapped."""
        return " ".join(self.text.split())

    def blocks(self, *kinds: str) -> list[str]:
        found = re.findall(r"^```(\w+)\n(.*?)^```", self.text, flags=re.S | re.M)
        return [block for kind, block in found if kind in kinds]

    @property
    def sessions(self) -> list[Session]:
        """Every command: prompts with their output, lines of sh blocks, inline code."""
        shown = [
            _session(part) for block in self.blocks("console") for part in re.split(r"^\$ ", block, flags=re.M)[1:]
        ]
        lines = [line for block in self.blocks("sh") for line in block.replace("\\\n", " ").splitlines()]
        plain = [Session(_bare(line)) for line in (*lines, *INLINE.findall(self._outside_blocks))]
        return [session for session in (*shown, *plain) if session.command]

    @property
    def links(self) -> list[str]:
        """Targets of links and pictures within the repository."""
        targets = re.findall(r"\]\(([^)\s]+)\)", self._outside_blocks)
        return [target for target in targets if not re.match(r"\w+:", target)]

    @property
    def anchors(self) -> set[str]:
        """What `#...` may name: the headings, as repositories make anchors of them."""
        headings = re.findall(r"^#+ (.*)$", self._outside_blocks, flags=re.M)
        return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}

    @property
    def _outside_blocks(self) -> str:
        return re.sub(r"^```.*?^```", "", self.text, flags=re.S | re.M)


def _session(part: str) -> Session:
    command, _, output = part.partition("\n")
    return Session(_bare(command), output.strip() or None)


def _bare(line: str) -> str:
    """A command without its comment and without where its output goes."""
    return re.split(r"(?:^|\s+)#| > ", line)[0].strip()


PAGES = [Page(path) for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))]


def page(name: str) -> Page:
    return next(found for found in PAGES if found.name == name)
