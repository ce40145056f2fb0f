"""``docs/FORMATS.md``, made from what the formats say of themselves: ``python -m service.exports.format_page``."""

from pathlib import Path

from service.formats import FORMATS
from service.formats.base import Format

PAGE = Path(__file__).parents[2] / "docs" / "FORMATS.md"
HEAD = """# File formats

This page is made from the formats themselves (`python -m service.exports.format_page`).

`cai export DIR --format NAME --out FILE` writes a table of a run, of a data set or of a file of feedback, without a
server. `cai feedback export` and `cai feedback import` do the same for a server's labels, and data sets can be
downloaded in each of these formats. If a folder doesn't have the table, it is made from the folder's feedback, with one
row per label.

| table | what each row holds |
|---|---|
| `pairs` | a prompt, the better answer (`chosen`) and the other one (`rejected`) |
| `rankings` | a prompt, answers, and their ranks |
| `ratings` | a prompt, one answer, and its rating or whether it is good (`label`) |
| `sft` | a prompt and an answer to imitate |
| `feedback` | a label as a person or model gave it |

`cai export DIR --push-to-hub OWNER/NAME` uploads a run's or a data set's tables to the Hugging Face hub, with their
card; `cai train ... --push-to-hub OWNER/NAME` uploads the trained model. A new repository is private. Inputs may be
addresses on the hub: `hf://OWNER/NAME` for the tables that a data set's card lists, `hf://OWNER/NAME/FILE` for one of
its files.
"""


def page() -> str:
    """Return the page."""
    return HEAD + "".join(map(_section, FORMATS.values()))


def _section(form: type[Format]) -> str:
    reads = ", ".join(form.reads) or "nothing"
    files = ", ".join(f"`{suffix}`" for suffix in form.suffixes)
    lines = [f"\n## {form.title} (`{form.name}`)\n", f"Files: {files}. Reads: {reads}."]
    if form.tables:
        lines += ["\n| table | columns of the file | how its tool reads it |", "|---|---|---|"]
        lines += [_row(form, table) for table in form.tables]
        lines += [f"\nLost: {form.loses[0].lower() + form.loses[1:]}"]
    else:
        lines += ["It is read only."]
    if form.model_fields:
        lines += [f"\nOptions: {', '.join(f'`{name}`' for name in form.model_fields)}."]
    return "\n".join(lines) + "\n"


def _row(form: type[Format], table: object) -> str:
    name = next(known for known in form.tables if known == table)
    usage = form().usage(name, Path(f"{name}{form.suffixes[0]}")).replace("|", "\\|")
    columns = ", ".join(f"`{column}`" for column in form.tables[name])
    return f"| `{name}` | {columns} | {f'`{usage}`' if usage else 'by its columns'} |"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
