"""Where a bucket is mentioned in an FDL file."""

from __future__ import annotations

from pathlib import Path

import pytest

from fdl_schemas.places import place_of_bucket

FDL = """\
functions:
  aws:
  - lambda:
      name: f
      container: {image: busybox}
      input:
      - {path: public/scenes, topic: "arn:aws:sns:us-east-1:123456789012:new"}
      - storage_provider: s3
        path: /pictures/in/
      output:
      - path: pictures-small
      - {storage_provider: minio.lab, path: elsewhere/out}
storage_providers: {minio: {lab: {endpoint: "https://minio.example.org"}}}
"""


@pytest.mark.parametrize(
    ("bucket", "place"),
    [("pictures", "9:15"), ("pictures-small", "11:15"), ("public", None), ("elsewhere", None)],
)
def test_the_first_entry_of_the_account_s_own_bucket(tmp_path: Path, bucket: str, place: str | None) -> None:
    file = tmp_path / "w.yaml"
    file.write_text(FDL)
    assert place_of_bucket(file, bucket) == (f"{file}:{place}" if place else None)
