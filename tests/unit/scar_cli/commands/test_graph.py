"""`scar graph`: pictures of good files and of loops, in all formats."""

from __future__ import annotations

import re
import struct
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fdl_schemas.diagram.colours import BUCKET_COLOURS, DARK, KIND_COLOURS, LIGHT
from fdl_schemas.diagram.diagram import Diagram, Kind, diagram
from fdl_schemas.diagram.direction import PAGE_WIDTH, Direction, best_direction
from fdl_schemas.diagram.dot import dot
from fdl_schemas.diagram.mermaid import mermaid
from fdl_schemas.load import check_text
from scar_cli.commands.graph import command
from scar_cli.drawing import png, svg
from scar_cli.errors import UserError

EXAMPLES = Path(__file__).parents[4] / "examples"
VIDEO = EXAMPLES / "video-process" / "scar-video-process.yaml"
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


Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


def size(picture: str) -> tuple[float, float]:
    root = ET.fromstring(picture)
    return float(root.attrib["width"]), float(root.attrib["height"])


def groups(picture: str, kind: str) -> list[ET.Element]:
    """The nodes or edges of an SVG file, in the order of the diagram."""
    found = [group for group in ET.fromstring(picture).iter(f"{SVG}g") if group.get("class") == kind]
    return sorted(found, key=lambda group: int(group.attrib["id"].removeprefix(kind)))


def box(element: ET.Element) -> Box:
    """What the shapes of an element cover."""
    numbers = [
        float(number)
        for shape in element.iter()
        for number in re.findall(r"-?[\d.]+", shape.get("d", "") + shape.get("points", ""))
    ]
    return min(numbers[::2]), min(numbers[1::2]), max(numbers[::2]), max(numbers[1::2])


def eight(chain: bool) -> str:
    names = [
        "extract-audio",
        "split-frames",
        "detect-faces",
        "blur-faces",
        "upscale",
        "annotate",
        "join",
        "publish",
    ]
    return workflow(
        *(
            function(name, f"media-project/{step if chain else 'in'}", f"media-project/{step + 1}")
            for step, name in enumerate(names)
        )
    )


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


def test_queues_are_shown_at_their_function() -> None:
    theirs = "{path: other, queue: {arn: 'arn:aws:sqs:us-east-1:123456789012:new-objects'}}"
    entry = f"      input: [{{path: media, queue: {{max_concurrency: 5}}}}, {theirs}]\n"
    found = drawn(workflow(function("f", more=entry)))
    nodes = {node.title: node for node in found.nodes}
    assert nodes["other"].lines == ("the whole bucket", "by queue new-objects")
    assert nodes["f"].lines == ("Lambda: 512 MiB, 300 s", "queue: 15 at a time", "grycap/ffmpeg")


def test_loop_is_red_and_nothing_else_is(tmp_path: Path) -> None:
    found = drawn(LOOP)
    red = {
        (found.nodes[edge.source].title, found.nodes[edge.target].title)
        for edge in found.edges
        if edge.danger
    }
    assert red == {("media", "enhance"), ("enhance", "media"), ("media", "again"), ("again", "media")}
    assert {node.title for node in found.nodes if node.danger} == {"enhance", "again"}
    assert dot(found, Direction.LEFT_TO_RIGHT).count(f'color="{LIGHT.loop}", fontcolor="{LIGHT.loop}"') == 4
    assert dot(found, Direction.LEFT_TO_RIGHT).count(f'TABLE BORDER="2" COLOR="{LIGHT.loop}"') == 2


def test_loop_that_is_only_possible_is_not_red() -> None:
    found = drawn(workflow(function("f", "media/in", "media")))
    assert {edge.danger.name for edge in found.edges} == {"POSSIBLE"}
    assert [edge.label for edge in found.edges if edge.dashed] == ["may be inside"]
    text = dot(found, Direction.LEFT_TO_RIGHT)
    assert LIGHT.loop not in text
    assert f'fontcolor="{LIGHT.maybe}", label=<&#160;may be inside&#160;>, style=dashed]' in text


@pytest.mark.parametrize("text", [VIDEO.read_text(), LOOP, CHAINS], ids=["video", "loop", "chains"])
def test_boxes_do_not_overlap_and_edges_end_at_their_boxes(text: str) -> None:
    found = drawn(text)
    picture = svg.svg(found, best_direction(found))
    boxes = [box(node) for node in groups(picture, "node")]
    assert len(boxes) == len(found.nodes)
    for number, one in enumerate(boxes):
        for other in boxes[:number]:
            assert one[0] >= other[2] or other[0] >= one[2] or one[1] >= other[3] or other[1] >= one[3]
    edges = groups(picture, "edge")
    assert len(edges) == len(found.edges)
    for edge, element in zip(found.edges, edges, strict=True):
        left, top, right, bottom = box(element)
        for end in (boxes[edge.source], boxes[edge.target]):
            # Arrows end at the outer side of a frame; a cylinder's numbers are a little inside of it.
            assert left <= end[2] + 5
            assert top <= end[3] + 5
            assert right >= end[0] - 5
            assert bottom >= end[1] - 5


@pytest.mark.parametrize("direction", ["LR", "TD"])
def test_data_flows_in_the_direction_that_is_given(direction: str) -> None:
    boxes = [box(node) for node in groups(run(str(VIDEO), "--direction", direction).stdout, "node")]
    before, after = (2, 0) if direction == "LR" else (3, 1)
    assert all(one[before] < other[after] for one, other in pairwise(boxes))
    text = run(str(VIDEO), "--direction", direction.lower(), "--format", "mermaid").stdout
    assert f"\nflowchart {direction}\n" in text
    text = run(str(VIDEO), "--direction", direction, "--format", "dot").stdout
    assert f"rankdir={direction.replace('TD', 'TB')}," in text


def test_a_short_chain_runs_from_left_to_right_and_a_long_one_down() -> None:
    assert best_direction(drawn(VIDEO.read_text())) is Direction.LEFT_TO_RIGHT
    assert best_direction(drawn(eight(chain=False))) is Direction.LEFT_TO_RIGHT
    assert best_direction(drawn(eight(chain=True))) is Direction.TOP_DOWN
    assert "\nflowchart TD\n" in run("--format", "mermaid", "-", stdin=eight(chain=True)).stdout


def test_a_long_loop_runs_down_like_a_long_chain() -> None:
    loop = eight(chain=True).replace("{path: media-project/8}", "{path: media-project/0}")
    assert best_direction(drawn(loop)) is Direction.TOP_DOWN


@pytest.mark.parametrize("chain", [True, False], ids=["chain", "fan"])
def test_eight_functions_fit_a_screen_and_are_readable_on_a_page(chain: bool) -> None:
    found = drawn(eight(chain))
    picture = svg.svg(found, best_direction(found))
    width, height = size(picture)
    assert width < PAGE_WIDTH
    # A4 less margins of 15 mm, in points: the smallest text has at least 6.5.
    scale = min((210 - 30) / width, (297 - 30) / height) / 25.4 * 72
    smallest = min(float(found) for found in re.findall(r'font-size="([\d.]+)"', picture))
    assert scale * smallest > 6.5


def test_modes_providers_and_buckets_have_their_colours() -> None:
    modes = "".join(
        f"  - lambda:\n      name: f-{mode}\n      execution_mode: {mode}\n      container: {{image: a}}\n"
        for mode in ("lambda", "batch", "lambda-batch")
    )
    found = drawn(
        "functions:\n  aws:\n" + modes + "      output: [{path: one/a}, {path: two/a}, {path: two/b}]\n"
    )
    nodes = groups(svg.svg(found, Direction.LEFT_TO_RIGHT), "node")
    colours = [
        {colour for shape in node for colour in (shape.get("fill"), shape.get("stroke"))}
        & {*KIND_COLOURS.values(), *BUCKET_COLOURS}
        for node in nodes
    ]
    orange, violet = KIND_COLOURS[Kind.LAMBDA], KIND_COLOURS[Kind.BATCH]
    one, two = BUCKET_COLOURS[:2]
    assert colours == [{orange}, {violet}, {orange, violet}, {one}, {two}, {two}]


EVIL = workflow(
    "  - lambda:\n      name: 7\n      container: {image: '<script>alert(1)</script>&\"\\N\\G\\'}\n"
    '      input: [{path: "b/<IMG SRC=\'/etc/passwd\'/>", prefix: ["\\"]; x ->", "\\\\L\\\\E"]}]\n'
    '      output: [{path: "a\\e]0;x\\a<b>&amp;/c]]>--"}, {path: " / "}]\n'
    "    api_gateway: {name: '<A HREF=\"javascript:alert(1)\">x</A>'}\n"
)


def test_svg_shows_hostile_names_as_they_are_and_obeys_none(tmp_path: Path) -> None:
    file = tmp_path / "w&<>\\G--.yaml"
    file.write_text(EVIL)
    root = ET.fromstring(run(str(file)).stdout)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} == {
        *("svg", "title", "style", "g", "polygon", "path", "text")
    }
    assert not [name for element in root.iter() for name in element.attrib if "href" in name]
    texts = "\n".join("".join(text.itertext()) for text in root.iter(f"{SVG}text")).replace("\n\\\n", "\\")
    for shown in (
        "w&<>\\G--",
        '<script>alert(1)</script>&"\\N\\G\\',
        "/<IMG SRC='/etc/passwd'/>",
        '"]; x ->*',
        "\\L\\E*",
        "<b>&amp;",
        "/c]]>--",
        '<A HREF="javascript:alert(1)">x</A>',
    ):
        assert shown in texts, texts
    assert "\x1b" not in texts


def test_svg_stands_alone_and_has_a_dark_colour_for_each_light_one() -> None:
    picture = run(str(VIDEO)).stdout
    assert set(re.findall(r"https?://[^\s\"'<]+|url\(|@import|<!", picture)) == {"http://www.w3.org/2000/svg"}
    assert "@media (prefers-color-scheme:dark)" in picture
    for light, dark in ((LIGHT.page, DARK.page), (LIGHT.box, DARK.box), (LIGHT.text, DARK.text)):
        assert f'fill="{light}"' in picture
        assert f'[fill="{light}"]{{fill:{dark}}}' in picture
    assert picture == run(str(VIDEO)).stdout


def test_text_that_is_cut_is_complete_in_the_tooltip() -> None:
    image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/some/deep/repository-name:2024-tag"
    picture = run("-", stdin=workflow(function("f", "media/in")).replace("grycap/ffmpeg", image)).stdout
    title = groups(picture, "node")[1].findtext(f"{SVG}title")
    assert title == f"f / Lambda: 512 MiB, 300 s / {image}"
    assert "123456789012.dkr.e…ory-name:2024-tag" in "".join(ET.fromstring(picture).itertext())


def test_mermaid_text_is_escaped() -> None:
    text = workflow(function("a", "media/in") + "      output: [{path: 'media/\"];click n0 x'}]\n")
    done = run("--format", "mermaid", "-", stdin=text)
    assert 'n2[("<b>media</b><br/>/#34;#93;#59;click n0 x")]' in done.stdout
    assert done.stdout.splitlines()[3] == "flowchart LR"


def test_mermaid_of_a_loop_has_red_links() -> None:
    done = run("--format", "mermaid", "-", stdin=LOOP)
    assert "    linkStyle 2,3,4,5 stroke:#dc2626,stroke-width:3px,color:#dc2626" in done.stdout


@pytest.mark.parametrize("name", ["w.svg", "w.png", "w.mmd", "w.dot"])
def test_ending_of_the_file_says_the_format(name: str, tmp_path: Path) -> None:
    target = tmp_path / name
    done = run(str(VIDEO), "-o", str(target))
    assert (done.stdout, done.stderr) == ("", "")
    content = target.read_bytes()
    start = {".svg": b"<svg ", ".png": b"\x89PNG", ".mmd": b"---\nti", ".dot": b"digra"}[target.suffix]
    assert start in content[:6]


def test_png_is_as_large_as_the_svg_says(tmp_path: Path) -> None:
    run(str(VIDEO), "-o", str(tmp_path / "w.png"))
    width, height = struct.unpack(">II", (tmp_path / "w.png").read_bytes()[16:24])
    expected = size(run(str(VIDEO)).stdout)
    assert abs(width - 2 * expected[0]) < 2
    assert abs(height - 2 * expected[1]) < 2


@pytest.mark.parametrize("name", ["abc", "Übergröße", "été", "Łódź", "Ελλάδα", "Киев", "שלום"])
def test_png_has_letters_on_machines_without_fonts(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import resvg_py

    original = resvg_py.svg_to_bytes

    def without_fonts_of_the_machine(**arguments: object) -> bytes:
        return original(**arguments, skip_system_fonts=True)  # type: ignore[arg-type]

    monkeypatch.setattr(resvg_py, "svg_to_bytes", without_fonts_of_the_machine)
    picture = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="90" height="20">'
        f'<text y="15" style="font-family:{svg.FONTS}">{{}}</text></svg>'
    )
    letters = [png.png(picture.format(letter)) for letter in sorted(set(name))]
    no_letter, nothing = png.png(picture.format("\U0010ffff")), png.png(picture.format(""))
    assert len({*letters, no_letter, nothing}) == len(letters) + 2


def test_png_that_no_viewer_opens_is_refused() -> None:
    with pytest.raises(UserError, match=r"too large for a PNG file. Draw an \.svg"):
        png.png('<svg xmlns="http://www.w3.org/2000/svg" width="20000" height="20000"/>')


def test_without_node_only_text_formats_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolchain.node.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError) as raised:
        run(str(VIDEO), "-o", str(tmp_path / "w.svg"))
    assert raised.value.exit_code == 2
    assert "Node" in raised.value.cause
    for words in ("scar-cdk[graph]", "--format mermaid", "--format dot"):
        assert words in raised.value.advice
    assert not list(tmp_path.iterdir())
    assert run(str(VIDEO), "--format", "mermaid").stdout.startswith("---")
    assert run(str(VIDEO), "--format", "dot").stdout.startswith("digraph")


def test_layout_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(svg, "_TIMEOUT_S", 0.01)
    with pytest.raises(UserError, match="too large for Graphviz"):
        run(str(VIDEO))


def test_file_with_mistakes_is_drawn_and_says_so(tmp_path: Path) -> None:
    done = run("-", stdin=LOOP)
    assert done.exit_code == 0
    assert done.stderr == (
        "scar: - has 1 error, so the drawing may be incomplete. `scar validate` lists them.\n"
    )
    assert len(groups(done.stdout, "node")) == 6


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        (("none.yaml",), None, "none.yaml cannot be parsed"),
        (("-",), "functions: [", "- cannot be parsed"),
        (("-",), "functions: {}", "- has no functions to draw"),
        (("-", "-o", "picture.gif"), LOOP, "The format of picture.gif is unknown"),
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
def test_hundreds_of_functions_are_drawn(shape: str) -> None:
    count, reads, writes = {
        "chain": (60, "media/{}", "media/{} log/all"),
        "star": (500, "media/in", "media/out/{}"),
        "everybody": (500, "media/x", "media/x"),
    }[shape]
    text = workflow(
        *(function(f"f{number}", reads.format(number), writes.format(number + 1)) for number in range(count))
    )
    found = drawn(text)
    assert len(groups(svg.svg(found, best_direction(found)), "node")) == len(found.nodes) > count
    assert mermaid(found, Direction.TOP_DOWN).count("-->") == len(found.edges)
