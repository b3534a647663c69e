"""Write answers as JSON, a line a photo, and say what is in it by a JSON Schema."""

import json
from importlib.resources import files

from embed.printable import encodable
from pipelines.answers.answer import Answer

SCHEMA = "answer.schema.json"  # beside this file


def format_json(answer: Answer) -> str:
    """Return an answer as one line of JSON, as the schema has it.

    Of a name that is no UTF-8 the bytes are shown: JSON is UTF-8.
    """
    texts = {"image": encodable(answer.image), "error": encodable(answer.error)}
    return json.dumps(answer.to_json() | texts, ensure_ascii=False)


def load_schema() -> str:
    """Return the JSON Schema of a line."""
    return files(__package__).joinpath(SCHEMA).read_text("utf-8")
