"""Tags: the part of Go's templates that is understood, and the texts of what is not."""

import pytest

from compatd.engine.logdrivers import LogOptionError
from compatd.engine.logdrivers.template import render

DATA = {
    "ID": "abc",
    "Name": "box",
    "ContainerArgs": ["-c", "x"],
    "ContainerLabels": {"team": "blue", "a.b": "dot"},
    "Empty": "",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("{{.ID}}", "abc"),
        ("{{ .Name }}/{{.ID}}", "box/abc"),
        ("a {{- .ID -}} b", "aabcb"),
        ("{{upper .Name}}", "BOX"),
        ("{{.Name | upper | lower}}", "box"),
        ('{{index .ContainerLabels "a.b"}}', "dot"),
        ("{{.ContainerLabels.team}}{{.ContainerLabels.none}}", "blue"),
        ('{{join .ContainerArgs ","}}', "-c,x"),
        ("{{.ContainerArgs}}", "[-c x]"),
        ("{{.ContainerLabels}}", "map[a.b:dot team:blue]"),
        ("{{json .ContainerLabels}}", '{"a.b":"dot","team":"blue"}'),
        ("{{truncate .ID 2}}{{pad .Name 1 2}}|", "ab box  |"),
        ('{{printf "%s-%q" .ID (upper .Name)}}', 'abc-"BOX"'),
        ("{{if .Empty}}a{{else if .ID}}b{{else}}c{{end}}", "b"),
        ("{{with .Name}}<{{.}}{{$.ID}}>{{end}}", "<boxabc>"),
        ("{{range .ContainerArgs}}[{{.}}]{{else}}none{{end}}", "[-c][x]"),
        ('{{if and (eq .Name "box") (not .Empty)}}yes{{end}}', "yes"),
        ("{{/* nothing */}}x{{`raw`}}", "xraw"),
        ('{{title "some words"}}', "Some Words"),
    ],
)
def test_rendered(text: str, expected: str) -> None:
    assert render(text, DATA) == expected


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{{.ID", "template: log-tag:1: unclosed action"),
        ("{{foo}}", 'template: log-tag:1: function "foo" not defined'),
        (
            "{{.Nope}}",
            'template: log-tag:1:2: executing "log-tag" at <.Nope>: '
            "can't evaluate field Nope in type *logger.Info",
        ),
        ("{{if .ID}}x", "template: log-tag:1: unexpected EOF"),
        ("{{end}}", "template: log-tag:1: unexpected {{end}}"),
        ("{{}}", "template: log-tag:1: missing value for command"),
        ("{{(.ID}}", "template: log-tag:1: unclosed left paren"),
    ],
)
def test_refused(text: str, error: str) -> None:
    with pytest.raises(LogOptionError) as caught:
        render(text, DATA)
    assert str(caught.value) == error


def test_a_function_that_fails_is_named() -> None:
    with pytest.raises(LogOptionError, match="error calling join"):
        render('{{join 1 ","}}', DATA)
