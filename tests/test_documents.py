"""JSON of strangers, read or refused."""

import os

import pytest

from im21k import documents


@pytest.mark.parametrize("text", ["{", "[]", "3", "\x00"])
def test_a_file_without_a_json_object_is_named(tmp_path, text):
  path = tmp_path / "a.json"
  path.write_text('{"a": [1]}')
  assert documents.read(path) == {"a": [1]}
  path.write_text(text)
  with pytest.raises(ValueError, match=r"a\.json is damaged: "):
    documents.read(path)


@pytest.mark.parametrize(
  ("data", "reason"),
  [
    (b'{"a": 1, "b": 2, "a": 3}', "the field 'a' comes twice"),
    (b'{"a": NaN}', "NaN is not a finite number"),
    (b'{"a": -Infinity}', "-Infinity is not a finite number"),
    (b'{"a": 1e999}', "1e999 is not a finite number"),
    (b'{"a": ' + 5 * 10**4 * b"[", "it is nested too deeply"),
    (b'{"a": ' + 10**4 * b"9" + b"}", "Exceeds the limit"),
    (b'{"a": "\xff"}', "can't decode byte 0xff"),
    (b'{"a": "' + 10**6 * b"b" + b'"}', "it has more than 100,000 bytes"),
  ],
)
def test_json_that_readers_disagree_about_is_refused(tmp_path, data, reason):
  path = tmp_path / "a.json"
  path.write_bytes(data)
  with pytest.raises(ValueError) as error:
    documents.read(path, "copy it again", largest=10**5)
  message = str(error.value)
  assert message.startswith(f"{path} is damaged: ") and reason in message
  assert message.endswith("; copy it again") and "\n" not in message


def test_json_may_have_a_byte_order_mark(tmp_path):
  path = tmp_path / "a.json"
  path.write_bytes(b'\xef\xbb\xbf{"a": 1.5}')
  assert documents.read(path) == {"a": 1.5}


def test_what_is_no_regular_file_is_not_read(tmp_path):
  os.mkfifo(tmp_path / "fifo")  # Would be waited for.
  for path in (tmp_path, tmp_path / "fifo"):
    with pytest.raises(ValueError, match="is not a regular file"):
      documents.read(path)
  with pytest.raises(FileNotFoundError):
    documents.read(tmp_path / "none")
