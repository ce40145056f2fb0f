"""``cai constitution ballot``: every group's support, and what all groups share first."""

from pathlib import Path

from typer.testing import CliRunner

from base.errors import InputError
from service.cli import app

COMMENTS = "comment-id,moderated,comment-body\n0,1,Be brief.\n1,1,Be kind.\n2,1,Unasked.\n3,-1,Rejected.\n"
VOTES = "participant,group-id,0,1,2,3\n" + "".join(
    f"{person},{group},{brief},1,,1\n" for person, (group, brief) in enumerate([(0, 1), (0, 1), (1, -1), (1, 0)])
)


def test_what_all_groups_share_comes_first_and_nobody_is_averaged_away(tmp_path: Path) -> None:
    for name, text in (("comments", COMMENTS), ("votes", VOTES)):
        (tmp_path / f"{name}.csv").write_text(text)
    command = ["constitution", "ballot", f"{tmp_path / 'comments.csv'}", f"{tmp_path / 'votes.csv'}"]
    command += ["--out", f"{tmp_path / 'b.md'}"]
    assert CliRunner().invoke(app, command).exit_code == 0
    text = (tmp_path / "b.md").read_text()
    assert text.index("Be kind.") < text.index("Be brief.") < text.index("Unasked.") and "Rejected" not in text
    brief = text[text.index("Be brief.") : text.index("Unasked.")]
    assert "group-0: 100 % (16 to 100) of 2" in brief and "group-1: 0 % (0 to 84) of 2" in brief
    assert "nobody of a group was asked" in text and "[ ] agree" in text
    assert isinstance(CliRunner().invoke(app, command).exception, InputError), "a file that exists is kept"
