"""Tables of benchmarks in the pages of results."""

from pathlib import Path


def file_table(folder: Path, benchmark: str, table: str) -> None:
    """Replace what `benchmark` has written in the README.md of a folder, if there is one, between its two marks."""
    mark, page = f"<!-- written by benchmarks/{benchmark}.py -->\n", folder / "README.md"
    if page.exists():
        before, _, after = page.read_text(encoding="utf-8").split(mark)
        page.write_text(f"{before}{mark}{table}{mark}{after}", encoding="utf-8")
