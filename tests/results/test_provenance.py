"""How a number was made: the commit of the repository that is used, and of no other."""

import subprocess

from avsink import resources
from avsink.results import provenance


def test_the_commit_is_known_in_a_repository_and_unknown_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(resources, "checkout", lambda: tmp_path)
    assert provenance.commit() == "unknown"
    git = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    assert len(provenance.commit()) == 40
    monkeypatch.setattr(resources, "checkout", lambda: None)
    assert provenance.commit() == "unknown"
