"""Provenance: every output says what made it and what it is not for."""

from latentsr.provenance import RESEARCH_USE, Provenance


def test_the_note_names_model_version_scale_and_research_use() -> None:
    provenance = Provenance("tiny", "1.2.3", "abc", 7, "{}")
    note = provenance.note(4)
    assert all(word in note for word in ("tiny", "1.2.3", "4 times", RESEARCH_USE))
    assert "\n" not in note


def test_the_note_says_what_the_image_is() -> None:
    assert "model tiny (mean of 8 samples)." in Provenance("tiny", "1", "abc", 7, "{}", image="mean of 8 samples").note(
        4
    )


def test_the_text_carries_everything_as_strings() -> None:
    text = Provenance("tiny", "1.2.3", "abc", 7, '{"steps":1}', synthetic=False).text(2)
    assert text["latentsr:seed"] == "7"
    assert text["latentsr:model_hash"] == "abc"
    assert text["latentsr:synthetic"] == "NO"
    assert text["latentsr:options"] == '{"steps":1}'
    assert text["latentsr:scale"] == "2"
