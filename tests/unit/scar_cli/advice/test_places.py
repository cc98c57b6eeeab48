"""Where a setting is in an FDL file."""

from __future__ import annotations

from scar_cli.advice.places import Place, place_of

FDL = """functions:
  aws:
  - lambda:
      name: one
      memory: 512
      container: {image: busybox}
  - batch:
      vcpus: 1
    lambda:
      name: two
      container: {image: busybox}
"""


def test_a_setting_is_found_or_belongs_to_the_name_of_its_function() -> None:
    assert place_of(FDL, "one", ("lambda", "memory")) == Place(5, is_present=True)
    assert place_of(FDL, "one", ("lambda", "timeout")) == Place(4, is_present=False)
    assert place_of(FDL, "one", ("batch", "memory")) == Place(4, is_present=False)
    assert place_of(FDL, "two", ("batch", "vcpus")) == Place(8, is_present=True)
    assert place_of(FDL, "two", ("batch", "memory")) == Place(7, is_present=False)
    assert place_of(FDL, "three", ("lambda", "memory")) is None
