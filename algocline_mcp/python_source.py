"""Source of a strategy in Python: its form and its compilation. Pure.

A strategy has one of three forms. *run*: the text defines `run`, which is called with ctx. *statements*: it has no
`run`, or calls `run` itself; its value is that of its last statement, if that is an expression. *function*: it has a
`return` outside every function, as authors who come from Lua write it. `await` outside a function is permitted in the
last two. A module is imported by a strategy; it has no value.

In the form *function* the text becomes the body of a function whose names are all declared global: functions and
classes of the text then find them as they would in a module. The compiler itself says which names these are: compiled
without the declaration, they are the function's local variables.

Contract: every text that cannot be compiled raises SyntaxError, whose file is the chunk and whose line is the user's.
The module `ast` makes a Python object of each node; the form *run* is compiled without it. Measured, for ten
lines: 130 us in the form *run*, 360 in *statements*, 850 in *function*.
"""

import ast
import re
import warnings
from _thread import allocate_lock  # threading does work after each fork
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, CoroutineType
from typing import Any, Literal

Form = Literal["run", "statements", "function", "module"]

NO_RESULT = object()  # what a strategy gives that ends without a value
RESULT = "__result__"  # the global variable that gets the value of the last expression
_BODY = "<module>"  # the function that contains the text, as tracebacks name a module

# `run` is defined in the first column, and called nowhere: the common file, whose form needs no tree.
_DEFINES_RUN = re.compile(
    r"^(?:(?:async[ \t]+)?def[ \t]+run\b|run[ \t]*=|from[ \t].*\bimport\b.*\brun\b)", re.MULTILINE
)
_CALLS_RUN = re.compile(r"(?<![\w.])(?<!def )run[ \t]*\(")
_OUTSIDE_FUNCTION = re.compile(r"outside (of )?(an )?(async\w* )?function")

Scope = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
_Node = ast.AST


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled strategy or module."""

    code: CodeType
    form: Form

    def start(self, namespace: dict[str, Any], before_run: Callable[[dict[str, Any]], None] | None = None) -> Any:
        """Runs the code in `namespace`, which has a `ctx`; returns its value, NO_RESULT, or a coroutine of either.
        `before_run(namespace)` is called in the form *run*, when the names of the text are there."""
        if self.form == "statements":
            waiting = eval(self.code, namespace)
            return _value_after(waiting, namespace) if waiting is not None else namespace.pop(RESULT, NO_RESULT)
        exec(self.code, namespace)
        if self.form == "module":
            return NO_RESULT
        if self.form == "function":
            return _value_of(namespace.pop(_BODY)())
        run = namespace.get("run")
        if not callable(run):
            raise TypeError(f"run is a {type(run).__name__} and no function: write def run(ctx):")
        if before_run is not None:
            before_run(namespace)
        return _value_of(run(namespace["ctx"]))


def _value_of(returned: Any) -> Any:
    """What a function has returned: a strategy that ends without `return` has no value."""
    return _awaited(returned) if isinstance(returned, CoroutineType) else NO_RESULT if returned is None else returned


async def _awaited(returned: Any) -> Any:
    value = await returned
    return NO_RESULT if value is None else value


async def _value_after(waiting: Any, namespace: dict[str, Any]) -> Any:
    await waiting
    return namespace.pop(RESULT, NO_RESULT)


def compile_strategy(code: str, chunk: str, *, is_entry: bool) -> Program:
    """Compiles the code that a session starts with, or a module that it imports. Raises SyntaxError."""
    source = code.removeprefix("\ufeff")
    try:
        return _compile_entry(source, chunk) if is_entry else Program(_compile(source, chunk), "module")
    except SyntaxError as exc:
        raise _completed(exc, source, chunk) from None
    except UnicodeEncodeError as exc:
        problem = "half of a surrogate pair, which no file can hold: leave it out"
        raise _error(problem, chunk, source.count("\n", 0, exc.start) + 1) from None
    except (RecursionError, MemoryError):
        raise _error("nested too deeply for the compiler: cut it into functions", chunk, 1) from None
    except ValueError as exc:  # a null character, before Python 3.12
        raise _completed(SyntaxError(str(exc)), source, chunk) from None


def _compile_entry(source: str, chunk: str) -> Program:
    if _DEFINES_RUN.search(source) and not _CALLS_RUN.search(source):
        try:
            code = _compile(source, chunk)
        except SyntaxError as exc:
            if not _OUTSIDE_FUNCTION.search(exc.msg):
                raise
        else:
            if "run" in code.co_names:  # else the definition stands in a text
                return Program(code, "run")
    tree = _parse(source, chunk)
    nodes = list(_outside_functions(tree))
    if any(isinstance(node, ast.Return) for node in nodes):
        return Program(_compile_function(tree, chunk), "function")
    if any("run" in _bound(node) for node in nodes) and not any(_is_call_of_run(node) for node in nodes):
        return Program(_compile(tree, chunk), "run")
    _refuse_definitions_only(tree, chunk)
    if tree.body and isinstance(last := tree.body[-1], ast.Expr):
        target = ast.copy_location(ast.Name(RESULT, ast.Store()), last)
        tree.body[-1] = ast.copy_location(ast.Assign([target], last.value), last)
    return Program(_compile(tree, chunk, ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), "statements")


def _compile(source: Any, chunk: str, flags: int = 0) -> CodeType:
    code: CodeType = compile(source, chunk, "exec", flags, dont_inherit=True)
    return code


def _parse(source: str, chunk: str) -> ast.Module:
    """The tree of the text. A text that is indented as a whole, as a quoted one often is, counts as not indented."""
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    try:
        tree = compile(source, chunk, "exec", flags, dont_inherit=True)
    except IndentationError:
        first = re.match(r"(?:[ \t]*(?:#.*)?\n)*([ \t]+)\S", source)
        if first is None:
            raise
        tree = compile(re.sub(f"(?m)^{first[1]}", "", source), chunk, "exec", flags, dont_inherit=True)
    assert isinstance(tree, ast.Module)
    return tree


def _compile_function(tree: ast.Module, chunk: str) -> CodeType:
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    body: list[ast.stmt] = [_ForFunction().visit(node) for node in tree.body if node not in imports]

    def compiled(names: list[str], kind: Any) -> CodeType:
        declared: list[ast.stmt] = [ast.Global(names)] if names else []
        function = kind(name=_BODY, args=_NO_ARGUMENTS, body=[*declared, *body], decorator_list=[], type_params=[])
        module = ast.Module([*imports, function], [])
        ast.fix_missing_locations(module)
        return _compile(module, chunk)

    kind: Any = ast.FunctionDef
    try:
        code = compiled([], kind)
    except SyntaxError as exc:
        if not _OUTSIDE_FUNCTION.search(exc.msg):
            raise
        kind = ast.AsyncFunctionDef
        code = compiled([], kind)
    inner = next(const for const in code.co_consts if isinstance(const, CodeType) and const.co_name == _BODY)
    return compiled(sorted({*inner.co_varnames, *inner.co_cellvars}), kind)


_NO_ARGUMENTS = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])


class _ForFunction(ast.NodeTransformer):
    """Rewrites what a module may do and a function with global names may not: `x: int = 1` and `from m import *`."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if not isinstance(node.target, ast.Name):
            return node
        new: ast.stmt = ast.Assign([node.target], node.value) if node.value else ast.Pass()
        return ast.copy_location(new, node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        if node.names[0].name != "*":
            return node
        statement = ast.parse(f"exec({ast.unparse(node)!r}, globals())").body[0]
        for inner in ast.walk(statement):
            ast.copy_location(inner, node)
        return statement


def _outside_functions(tree: _Node) -> Iterator[_Node]:
    """The nodes that run when the module does: not those inside functions and classes, nor what stands below
    `if __name__ == "__main__":`, which does not run."""
    for node in ast.iter_child_nodes(tree):
        yield node
        is_main_guard = isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)
        if not isinstance(node, Scope) and not is_main_guard:
            yield from _outside_functions(node)


def _bound(node: _Node) -> tuple[str, ...]:
    """Names that the node itself gives a value."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return (node.name,)
    if isinstance(node, ast.alias):
        return (node.asname or node.name,)
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        return (node.id,)
    return ()


def _is_call_of_run(node: _Node) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "run"


_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)


def _refuse_definitions_only(tree: ast.Module, chunk: str) -> None:
    """Raises SyntaxError for a text that does nothing: its author has forgotten `run`, or the call at the end."""
    functions = [node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    if functions and all(isinstance(node, _DEFINITIONS) or _is_quiet(node) for node in tree.body):
        last = functions[-1]
        call = f"{'await ' * isinstance(last, ast.AsyncFunctionDef)}{last.name}({'ctx' if last.args.args else ''})"
        problem = (
            f"the code defines {last.name} and no run, so it does nothing: write def run(ctx):, or end with {call}"
        )
        raise _error(problem, chunk, last.lineno)


def _is_quiet(node: ast.stmt) -> bool:
    """A docstring, a constant, or what runs only in a program of its own, which alc.main begins."""
    if isinstance(node, ast.If):
        return "__name__" in ast.unparse(node.test)
    value = getattr(node, "value", None)
    if isinstance(value, ast.Call) and ast.unparse(value.func) == "alc.main":
        return True
    return isinstance(node, (ast.Expr, ast.Assign, ast.AnnAssign)) and isinstance(value, ast.Constant)


def _error(problem: str, chunk: str, line: int) -> SyntaxError:
    error = SyntaxError(problem)
    error.filename, error.lineno = chunk, line
    return error


def _completed(error: SyntaxError, source: str, chunk: str) -> SyntaxError:
    """The error with the line of the source: the compiler looks for it in a file of the chunk's name."""
    error.filename = chunk
    error.lineno = error.lineno or source.count("\n", 0, max(0, source.find("\0"))) + 1
    lines = source.split("\n")
    error.text = lines[error.lineno - 1] + "\n" if error.lineno <= len(lines) else None
    return error


_silencing = allocate_lock()  # the filters of warnings are the process's, and the server compiles in threads


@contextmanager
def silence() -> Iterator[None]:
    """Suppresses what the compiler has to say of texts that compile: an engine says it to the author."""
    with _silencing, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
