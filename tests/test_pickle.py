"""No file that is read can run code."""

import ast

from tests.test_imports import FILES, ROOT


def test_nothing_is_read_that_could_run_code() -> None:
    """Pickle is between our own processes alone, and Revisited's is read without running it."""
    own = {"embed/processes.py", "pipelines/sources/revisited/plain_pickle.py"}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            options = {each.arg: ast.unparse(each.value) for each in node.keywords}
            place = f"{path.relative_to(ROOT).as_posix()}:{node.lineno}"
            assert options.get("allow_pickle", "False") == "False", place
            assert name != "torch.load" or options.get("weights_only") == "True", place
            if name.startswith(("pickle.", "joblib.", "dill.", "marshal.", "shelve.")):
                assert place.partition(":")[0] in own, place
