"""`scar graph`: pictures of good files and of loops, in all three formats."""

from __future__ import annotations

import struct
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fdl_schemas.diagram import png
from fdl_schemas.diagram.diagram import Diagram, Kind, diagram
from fdl_schemas.diagram.layout import Layout, layout
from fdl_schemas.diagram.ranks import ranks
from fdl_schemas.load import check_text
from scar_cli.commands.graph import command
from scar_cli.errors import UserError

VIDEO = Path(__file__).parents[3] / "examples" / "video-process" / "scar-video-process.yaml"
SVG = "{http://www.w3.org/2000/svg}"


def function(name: str, reads: str = "", writes: str = "", more: str = "") -> str:
    text = f"  - lambda:\n      name: {name}\n      container: {{image: grycap/ffmpeg}}\n{more}"
    if reads:
        text += "      input:\n" + "".join(f"      - {{path: {path}}}\n" for path in reads.split())
    if writes:
        text += "      output:\n" + "".join(f"      - {{path: {path}}}\n" for path in writes.split())
    return text


def workflow(*functions: str) -> str:
    return "functions:\n  aws:\n" + "".join(functions)


LOOP = workflow(
    function("start", "media/in", "media/frames"),
    function("enhance", "media/frames", "media/enhanced"),
    function("again", "media/enhanced", "media/frames"),
)
CHAINS = workflow(
    *(
        function(f"f{row}-{step}", f"bucket-{row}/{step}", f"bucket-{row}/{step + 1} shared/log-{step}")
        for row in range(4)
        for step in range(3)
    )
)


def drawn(text: str) -> Diagram:
    draft = check_text(text.encode(), "w.yaml").draft
    assert draft is not None
    return diagram(draft, "w")


def placed(text: str) -> Layout:
    return layout(drawn(text))


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(command, arguments, input=stdin, catch_exceptions=False, standalone_mode=False)


def test_the_example_becomes_a_row_of_folders_and_functions() -> None:
    found = drawn(VIDEO.read_text())
    assert [(node.kind, node.title, *node.lines[:1]) for node in found.nodes] == [
        (Kind.FOLDER, "scar-video", "/input"),
        (Kind.BATCH, "scar-batch-ffmpeg-split", "Batch: 1 vCPU, 2048 MiB"),
        (Kind.FOLDER, "scar-video", "/split-images"),
        (Kind.LAMBDA, "scar-lambda-darknet", "Lambda: 3008 MiB, 300 s"),
        (Kind.FOLDER, "scar-video", "/output"),
    ]
    assert [(edge.source, edge.target) for edge in found.edges] == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert ranks(found).columns == ((0,), (1,), (2,), (3,), (4,))


def test_filters_stand_on_the_arrows() -> None:
    entry = "      input: [{path: media, prefix: [frame-], suffix: [jpg, png]}]\n"
    assert drawn(workflow(function("f", more=entry))).edges[0].label == "frame-* and *jpg, *png"


def test_inputs_on_one_folder_are_one_arrow_and_one_without_filter_takes_all() -> None:
    both = "      input: [{path: media, suffix: [jpg]}, {path: media, prefix: [a]}]\n"
    assert [edge.label for edge in drawn(workflow(function("f", more=both))).edges] == ["*jpg, a*"]
    whole = "      input: [{path: media, suffix: [jpg]}, {path: media}]\n"
    assert [edge.label for edge in drawn(workflow(function("f", more=whole))).edges] == [""]


def test_folder_inside_the_one_that_is_read_is_connected_with_it() -> None:
    found = drawn(workflow(function("a", "", "media/in/raw"), function("b", "media/in")))
    (nested,) = [edge for edge in found.edges if edge.dashed]
    assert found.nodes[nested.source].lines == ("/in/raw",)
    assert found.nodes[nested.target].lines == ("/in",)


def test_other_providers_topics_endpoints_and_services_are_drawn() -> None:
    text = workflow(
        "  - lambda:\n      name: f\n      container: {image: a}\n"
        "      input: [{path: public, topic: 'arn:aws:sns:us-east-1:123456789012:new-objects'}]\n"
        "      output: [{path: faces, storage_provider: minio.lab}]\n"
        "    api_gateway: {name: image-api}\n"
    )
    text += "  oscar:\n  - lab: {name: blur, input: [{path: faces, storage_provider: minio.lab}]}\n"
    nodes = {node.title: node for node in drawn(text).nodes}
    assert nodes["public"].lines == ("the whole bucket", "by topic new-objects")
    assert nodes["faces"].lines == ("the whole bucket", "on minio.lab")
    assert nodes["image-api"].kind is Kind.HTTP
    assert nodes["blur"].lines == ("OSCAR, lab",)


def test_loop_is_red_and_nothing_else_is(tmp_path: Path) -> None:
    found = drawn(LOOP)
    red = {
        (found.nodes[edge.source].title, found.nodes[edge.target].title)
        for edge in found.edges
        if edge.danger
    }
    assert red == {("media", "enhance"), ("enhance", "media"), ("media", "again"), ("again", "media")}
    assert {node.title for node in found.nodes if node.danger} == {"enhance", "again"}
    assert len(ranks(found).backward) == 1


def test_loop_that_is_only_possible_is_not_red() -> None:
    found = drawn(workflow(function("f", "media/in", "media")))
    assert {edge.danger.name for edge in found.edges} == {"POSSIBLE"}
    assert [edge.label for edge in found.edges if edge.dashed] == ["may lie in"]


@pytest.mark.parametrize("text", [VIDEO.read_text(), LOOP, CHAINS], ids=["video", "loop", "chains"])
def test_boxes_do_not_overlap_and_all_is_on_the_page(text: str) -> None:
    picture = placed(text)
    for number, one in enumerate(picture.boxes):
        assert 0 < one.x < one.x + one.width < picture.width
        assert 0 < one.y < one.y + one.height < picture.height
        for other in picture.boxes[:number]:
            apart = one.x >= other.x + other.width or other.x >= one.x + one.width
            assert apart or one.y >= other.y + other.height or other.y >= one.y + one.height
    for way in picture.ways:
        for point in (way.start, *(point for curve in way.curves for point in curve)):
            assert 0 <= point[0] <= picture.width
            assert 0 <= point[1] <= picture.height


@pytest.mark.parametrize("text", [VIDEO.read_text(), CHAINS], ids=["video", "chains"])
def test_arrows_lead_to_the_right_and_end_at_their_boxes(text: str) -> None:
    picture = placed(text)
    for way in picture.ways:
        source, target = picture.boxes[way.edge.source], picture.boxes[way.edge.target]
        assert way.start[0] == source.x + source.width
        assert way.curves[-1][-1][0] == target.x
        assert target.y <= way.curves[-1][-1][1] <= target.y + target.height
        assert way.start[0] < way.curves[-1][-1][0]


def test_svg_is_xml_whatever_the_names_are(tmp_path: Path) -> None:
    evil = workflow(
        "  - lambda:\n      name: 7\n      container: {image: '<script>alert(1)</script>&\"'}\n"
        '      output: [{path: "a\\e]0;x\\a<b>&/c]]>"}]\n'
    )
    (tmp_path / "w&<>.yaml").write_text(evil)
    done = run(str(tmp_path / "w&<>.yaml"))
    root = ET.fromstring(done.stdout)
    assert root.tag == f"{SVG}svg"
    assert not list(root.iter(f"{SVG}script"))
    texts = "".join(root.itertext())
    assert "<script>alert(1)</script>" in texts
    assert "\x1b" not in texts


def test_mermaid_text_is_escaped() -> None:
    text = workflow(function("a", "media/in") + "      output: [{path: 'media/\"];click n0 x'}]\n")
    done = run("--format", "mermaid", "-", stdin=text)
    assert 'n2[("<b>media</b><br/>/#34;#93;#59;click n0 x")]' in done.stdout
    assert done.stdout.splitlines()[3] == "flowchart LR"


def test_mermaid_of_a_loop_has_red_links() -> None:
    done = run("--format", "mermaid", "-", stdin=LOOP)
    assert "    linkStyle 2,3,4,5 stroke:#dc2626,stroke-width:3px,color:#dc2626" in done.stdout


@pytest.mark.parametrize("name", ["w.svg", "w.png", "w.mmd"])
def test_ending_of_the_file_says_the_format(name: str, tmp_path: Path) -> None:
    target = tmp_path / name
    done = run(str(VIDEO), "-o", str(target))
    assert (done.stdout, done.stderr) == ("", "")
    content = target.read_bytes()
    assert {".svg": b"<svg ", ".png": b"\x89PNG", ".mmd": b"---\nti"}[target.suffix] in content[:6]


def test_png_is_as_large_as_the_layout_says(tmp_path: Path) -> None:
    run(str(VIDEO), "-o", str(tmp_path / "w.png"))
    width, height = struct.unpack(">II", (tmp_path / "w.png").read_bytes()[16:24])
    picture = placed(VIDEO.read_text())
    assert abs(width - 2 * picture.width) < 2
    assert abs(height - 2 * picture.height) < 2


@pytest.mark.parametrize("name", ["Übergröße", "año", "été", "Łódź", "Ελλάδα"])
def test_letters_that_pillow_does_not_bring_are_drawn_with_a_font_that_has_them(name: str) -> None:
    if png.font("DejaVuSans.ttf", 20) is None:
        pytest.skip("there is no font with these letters here")
    text, font = png.spelled(name, 20)
    no_letter = bytes(font.getmask("\U0010ffff"))
    assert text == name
    assert not [letter for letter in text if bytes(font.getmask(letter)) == no_letter]


def test_names_lose_their_accents_where_no_font_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png, "_FONTS", ("",))
    assert png.spelled("crème brûlée…", 20)[0] == "creme brulee…"
    assert png.spelled("画像", 20)[0] == "画像"


def test_ascii_is_drawn_alike_on_all_machines() -> None:
    assert png.spelled("bucket/folder *.jpg", 20)[1] is png.font("", 20)


def test_file_with_mistakes_is_drawn_and_says_so(tmp_path: Path) -> None:
    done = run("-", stdin=LOOP)
    assert done.exit_code == 0
    assert done.stderr == (
        "scar: - has 1 mistake, and is drawn as far as it can be read. `scar validate` lists them.\n"
    )
    assert len(list(ET.fromstring(done.stdout).iter(f"{SVG}rect"))) == 7


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        (("none.yaml",), None, "none.yaml cannot be read, and so not drawn"),
        (("-",), "functions: [", "- cannot be read, and so not drawn"),
        (("-",), "functions: {}", "- has no functions to draw"),
        (("-", "-o", "picture.gif"), LOOP, "picture.gif does not say what it is"),
        (("-", "-o", "none/picture.svg"), LOOP, "Cannot write none/picture.svg: No such file or directory"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_one_sentence(
    arguments: tuple[str, ...], stdin: str | None, said: str
) -> None:
    with pytest.raises(UserError) as raised:
        run(*arguments, stdin=stdin)
    assert raised.value.cause == said
    assert raised.value.advice


def test_picture_is_never_written_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "w.yaml"
    file.write_text(LOOP)
    with pytest.raises(UserError, match="is the FDL file itself"):
        run(str(file), "--format", "svg", "-o", str(file))
    assert file.read_text() == LOOP


def test_too_many_functions_are_refused() -> None:
    text = workflow(*(function(f"f{number}") for number in range(1001)))
    with pytest.raises(UserError, match="more functions"):
        run("-", stdin=text)


@pytest.mark.parametrize("shape", ["chain", "star", "everybody"])
def test_five_hundred_functions_are_drawn_in_seconds(shape: str) -> None:
    reads, writes = {
        "chain": ("media/{}", "media/{} log/all"),
        "star": ("media/in", "media/out/{}"),
        "everybody": ("media/x", "media/x"),
    }[shape]
    text = workflow(
        *(function(f"f{number}", reads.format(number), writes.format(number + 1)) for number in range(500))
    )
    start = time.process_time()
    assert len(placed(text).boxes) >= 500
    assert time.process_time() - start < 15
