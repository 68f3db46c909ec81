"""The source that a function's result can depend on: a static walk over the definitions of a package.

A definition gives one name of a module its value: it is a function, a class with its methods, or the assignments of a
constant. Its closure contains the definitions that it names, those that these name, and so on. The walk ends at names
of other packages.

Definitions are written in a normal form without docstrings, comments, annotations of functions and variables, imports,
arguments of `raise`, the method that shows an error in a notebook, and the decorators `on_one_thread` and
`takes_seeds`, which changes nothing where no seeds are given. Annotations in the body of a class remain: they make a
dataclass's fields. Neither the definition's own name nor its module's appears,
so code that is moved, renamed or documented keeps its normal form.

The walk doesn't execute anything, so it can't see one definition change the state of another, or an attribute found by
`getattr`. A module that is passed around as an object counts as a whole.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import deepcv
from deepcv.errors import InputError

_ROOT = Path(deepcv.__file__).parent


class Name(NamedTuple):
    """A name of a module; "" stands for the whole module."""

    module: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.module}:{self.name}"


class _Module(NamedTuple):
    name: str
    package: str  # that a relative import starts from
    definitions: dict[str, list[ast.stmt]]
    imports: dict[str, Name]
    effects: list[ast.stmt]  # that bind no name: they count with every definition


Form = tuple["str | Name", ...]
"""A definition in normal form, in pieces: text, and the names of other definitions."""


def closure(root: str | Path, starts: Iterable[str], without: Sequence[str] = ()) -> dict[str, str]:
    """The definitions that the given ones of a package depend on, themselves included.

    Parameters
    ----------
    root : path
        The package's folder, which has the package's name. It need not be importable.
    starts : iterable of str
        "package.module:name"; of a method or a local function, the class or function around it is taken.
    without : sequence of str
        Dotted names of modules not to follow.

    Returns
    -------
    dict of str to str
        Normal forms by "package.module:name"; "package.module:" is a module that counts as a whole.

    Raises
    ------
    InputError
        If a start isn't defined there.
    """
    forms = _walk(_package(Path(root)), starts, tuple(without))
    return {
        str(name): "".join(f"‹{p.name}›" if isinstance(p, Name) else p for p in form) for name, form in forms.items()
    }


def closure_hash(
    root: str | Path,
    starts: Iterable[str],
    without: Sequence[str] = (),
    others: Sequence[tuple[str, Path]] = (),
) -> str:
    """SHA-256, in hex, of a closure, whatever the names and places of its definitions.

    Parameters
    ----------
    root, starts, without
        As in `closure`.
    others : sequence of (str, path)
        Modules outside the package, and their files, that the walk may start from.
    """
    forms = _walk(_package(Path(root), tuple(others)), starts, tuple(without))
    numbers = {name: str(number) for number, name in enumerate(forms)}
    digest = hashlib.sha256()
    for form in forms.values():
        text = "".join(f"‹{numbers.get(p, p.name)}›" if isinstance(p, Name) else p for p in form)
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()


@functools.cache
def code_hash(*functions: Callable[..., Any], without: tuple[str, ...] = ()) -> str:
    """Hash of the meaning of code: of all definitions in this package that functions or classes depend on.

    A changed docstring, comment, annotation or error message doesn't change it, nor does renaming or moving code.
    The module's docstring says what a definition is and what the walk can't see.

    Parameters
    ----------
    *functions : function, class or functools.partial
        Of this package, or of another module that has a file. Arguments of a partial count by their `repr`.
    without : tuple of str
        Dotted names of modules not to follow.

    Raises
    ------
    InputError
        If one has no source file, such as a function typed into an interpreter.
    """
    starts: list[str] = []
    others: dict[str, Path] = {}
    arguments: list[Any] = []
    pending: list[Any] = list(functions)
    while pending:
        function = pending.pop(0)
        if isinstance(function, functools.partial):
            given = (*function.args, *function.keywords.values())
            pending += [function.func, *filter(callable, given)]
            arguments.append([list(function.keywords), [repr(each) for each in given if not callable(each)]])
            continue
        function = inspect.unwrap(function)
        module, name = getattr(function, "__module__", None) or "", getattr(function, "__qualname__", "")
        file = getattr(sys.modules.get(module), "__file__", None)
        if not (name and file and file.endswith(".py")):
            raise InputError(f"{function!r} has no source file; define it with `def` in a module")
        starts.append(f"{module}:{name}")
        if not module.startswith("deepcv."):
            others[module] = Path(file)
    found = closure_hash(_ROOT, starts, without, tuple(others.items()))
    return hashlib.sha256(f"{found} {arguments}".encode()).hexdigest() if arguments else found


def _walk(source: _Package, starts: Iterable[str], without: tuple[str, ...]) -> dict[Name, Form]:
    forms: dict[Name, Form] = {}
    queue = deque(source.start(start) for start in starts)
    while queue:
        name = queue.popleft()
        if name not in forms and not any(f"{name.module}.".startswith(f"{each}.") for each in without):
            forms[name] = source.form(name)
            queue.extend(piece for piece in forms[name] if isinstance(piece, Name))
    return forms


@functools.cache
def _package(root: Path, others: tuple[tuple[str, Path], ...] = ()) -> _Package:
    """The package in a folder, parsed once."""
    return _Package(root, dict(others))


class _Package:
    """Source files of a package, parsed when they are asked for."""

    def __init__(self, root: Path, others: dict[str, Path]):
        self._root, self._others = root, others
        self._modules: dict[str, _Module | None] = {}
        self._forms: dict[Name, Form] = {}

    def module(self, name: str) -> _Module | None:
        """A module's definitions and imports; None for one of another package."""
        if name not in self._modules:
            path = self._path(name)
            here = name if path and path.name == "__init__.py" else name.rpartition(".")[0]
            self._modules[name] = _parsed(name, here, path.read_text(encoding="utf-8")) if path else None
        return self._modules[name]

    def _path(self, name: str) -> Path | None:
        if name in self._others:
            return self._others[name]
        top, *parts = name.split(".")
        folder = self._root.joinpath(*parts)
        candidates = (folder / "__init__.py", folder.with_suffix(".py")) if top == self._root.name else ()
        return next((path for path in candidates if path.is_file()), None)

    def start(self, start: str) -> Name:
        """The definition that "package.module:qualified.name" is in."""
        module, _, qualified = start.partition(":")
        outermost = qualified.partition(".")[0]
        found = self.find(Name(module, "" if outermost == "<lambda>" else outermost))
        if found is None or not self.module(found.module):
            raise InputError(f"{start} isn't defined in {self._root}")
        return found

    def find(self, name: Name) -> Name | None:
        """The definition or module that a name stands for; None where only running the code would tell."""
        while True:
            module = self.module(name.module)
            if module is None or not name.name or name.name in module.definitions:
                return name
            imported = module.imports.get(name.name, name)
            if imported == name:
                inner = Name(f"{name.module}.{name.name}")
                return inner if self.module(inner.module) else None
            name = imported

    def form(self, name: Name) -> Form:
        """The normal form of a definition; of a whole module, its names."""
        if name not in self._forms:
            module = self._modules[name.module]
            assert module, f"{name} has been found"
            if name.name:
                statements = [*module.effects, *module.definitions[name.name]]
                self._forms[name] = _Writer(self, module, name.name).written(statements)
            else:
                names = sorted(module.definitions)
                self._forms[name] = tuple(piece for each in names for piece in (each, Name(name.module, each)))
        return self._forms[name]


@functools.cache
def _parsed(name: str, here: str, source: str) -> _Module:
    definitions: dict[str, list[ast.stmt]] = {}
    imports: dict[str, Name] = {}
    effects = []
    for statement in ast.parse(source).body:
        bound = _bound([statement], here)
        imports |= {local: target for local, target in bound.items() if target}
        own = {local for local, target in bound.items() if not target}
        own |= {base for base in _changed(statement) if base not in imports}
        for local in own:
            definitions.setdefault(local, []).append(statement)
        if not bound and not own:
            effects.append(statement)
        imports |= _lazy(statement, here)
    return _Module(name, here, definitions, imports, effects)


def _lazy(statement: ast.stmt, here: str) -> dict[str, Name]:
    """What `lazy_loader.attach(submod_attrs=…)` makes a package's `__init__` import on first use."""
    call = statement.value if isinstance(statement, ast.Assign) else None
    tables = [each.value for each in call.keywords if each.arg == "submod_attrs"] if isinstance(call, ast.Call) else []
    return {
        attribute: Name(f"{here}.{module}", attribute)
        for table in tables
        for module, attributes in ast.literal_eval(table).items()
        for attribute in attributes
    }


def _imported(statement: ast.Import | ast.ImportFrom, here: str) -> Iterator[tuple[str, Name]]:
    """Local names, and what they stand for, of an import in a module of the package `here`."""
    if isinstance(statement, ast.Import):
        for each in statement.names:
            top = each.name.partition(".")[0]
            yield (each.asname, Name(each.name)) if each.asname else (top, Name(top))
        return
    above = here.split(".")[: len(here.split(".")) - statement.level + 1] if statement.level else []
    module = ".".join([*above, *filter(None, [statement.module])])
    if module != "__future__":
        for each in statement.names:
            if each.name == "*":
                raise InputError(f"`from {module} import *` can't be followed; import the names that are used")
            yield each.asname or each.name, Name(module, each.name)


def _bound(nodes: Iterable[ast.AST], here: str) -> dict[str, Name | None]:
    """The names that statements bind in their own scope: what an imported one stands for, None for another."""
    found: dict[str, Name | None] = {}
    elsewhere: set[str] = set()
    stack = list(nodes)
    while stack:
        node = stack.pop()
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.setdefault(name, None)
                continue
            case ast.Lambda():
                continue
            case ast.Import() | ast.ImportFrom():
                found.update(_imported(node, here))
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                found.setdefault(name, None)
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                found.setdefault(name, None)
            case ast.MatchMapping(rest=str(name)):
                found.setdefault(name, None)
            case ast.Global(names=names) | ast.Nonlocal(names=names):
                elsewhere.update(names)
            case ast.comprehension():  # its target has a scope of its own
                stack += [node.iter, *node.ifs]
                continue
            case ast.If() if _for_type_checkers(node):
                stack += node.orelse
                continue
        stack += ast.iter_child_nodes(node)
    return {name: target for name, target in found.items() if name not in elsewhere}


def _changed(statement: ast.stmt) -> Iterator[str]:
    """The names whose objects a module's statement changes: `x.y = …`, `x[y] = …`, `x.update(…)`, `x(…)`."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return
    for node in ast.walk(statement):
        match node:
            case ast.Attribute(ctx=ast.Store() | ast.Del()) | ast.Subscript(ctx=ast.Store() | ast.Del()):
                base: ast.AST = node
            case ast.Expr(value=ast.Call() as base):
                pass
            case _:
                continue
        while isinstance(base, ast.Attribute | ast.Subscript | ast.Call):
            base = base.func if isinstance(base, ast.Call) else base.value
        if isinstance(base, ast.Name):
            yield base.id


def _for_type_checkers(node: ast.If) -> bool:
    return "TYPE_CHECKING" in (getattr(node.test, "id", None), getattr(node.test, "attr", None))


_WITHOUT_NUMBERS = (Name("deepcv.threads", "on_one_thread"), Name("deepcv.seeds", "takes_seeds"))
"""Decorators that don't change what recorded rows compute."""


class _Writer(ast.NodeVisitor):
    """Writes the normal form of a definition; the text depends on the syntax tree alone, not on Python's version."""

    def __init__(self, source: _Package, module: _Module, own: str):
        self._source, self._module, self._own = source, module, own
        self._pieces: list[str | Name] = []
        self._scopes: list[dict[str, Name | None]] = []  # of functions, outermost first
        self._in_class = False

    def written(self, statements: Sequence[ast.stmt]) -> Form:
        self._write(statements)
        return tuple(self._pieces)

    def _write(self, *values: object) -> None:
        """Write nodes, lists and constants."""
        for value in values:
            if isinstance(value, ast.AST):
                self.visit(value)
            elif isinstance(value, list):
                self._pieces.append("[")
                self._write(*value)
                self._pieces.append("]")
            else:
                self._pieces.append(f"{value!r} ")

    def generic_visit(self, node: ast.AST) -> None:
        self._pieces.append(f"{type(node).__name__}(")
        for field, value in ast.iter_fields(node):
            if value not in (None, []) and field not in ("ctx", "kind", "type_comment"):
                self._pieces.append(f"{field}=")
                self._write(value)
        self._pieces.append(")")

    # names

    def visit_Name(self, node: ast.Name) -> None:
        local = any(node.id in scope for scope in self._scopes)
        if isinstance(node.ctx, ast.Load) or (self._scopes and not local and not self._in_class):  # or `global`
            self._refer(node.id, [])
        else:
            self._pieces.append(f"{self._called(node.id)} ")

    def visit_Attribute(self, node: ast.Attribute) -> None:
        attributes = [node.attr]
        while isinstance(node.value, ast.Attribute):
            node = node.value
            attributes.insert(0, node.attr)
        if isinstance(node.value, ast.Name):
            self._refer(node.value.id, attributes)
        else:
            self._write(node.value)
            self._pieces.append("".join(f".{each}" for each in attributes) + " ")

    def _called(self, name: str) -> str:
        """A name that is bound; the definition's own doesn't count."""
        outermost = not self._scopes and not self._in_class
        return "_" if outermost and name == self._own else name

    def _refer(self, name: str, attributes: list[str]) -> None:
        """Write what `name.attribute.attribute` stands for."""
        target = self._meaning(name)
        if target is None:
            self._pieces.append(".".join([name, *attributes]) + " ")
            return
        attributes = [target.name, *attributes] if target.name else attributes
        target = Name(target.module)
        while attributes and not target.name and self._source.module(target.module):
            found = self._source.find(Name(target.module, attributes[0]))
            if found is None:
                break
            target, attributes = found, attributes[1:]
            if found.name and not self._source.module(found.module):
                target, attributes = Name(found.module), [found.name, *attributes]
        if self._source.module(target.module):
            self._pieces += [target, "".join(f".{each}" for each in attributes) + " "]
        else:
            self._pieces.append(".".join([target.module, *attributes]) + " ")

    def _meaning(self, name: str) -> Name | None:
        """What a name stands for here; None for a local variable or a builtin."""
        for scope in reversed(self._scopes):
            if name in scope:
                return scope[name]
        if name in self._module.definitions:
            return Name(self._module.name, name)
        return self._module.imports.get(name)

    # scopes

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        if node.name == "_render_traceback_":
            return
        self._pieces.append(f"{type(node).__name__}({self._called(node.name)} ")
        self._write([each for each in node.decorator_list if not self._adds_nothing(each)])
        self._function(node.args, node.body)

    visit_AsyncFunctionDef = visit_FunctionDef

    def _adds_nothing(self, decorator: ast.expr) -> bool:
        name = decorator.id if isinstance(decorator, ast.Name) else ""
        return self._meaning(name) in _WITHOUT_NUMBERS

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._pieces.append("Lambda(")
        self._function(node.args, [node.body])

    def _function(self, args: ast.arguments, body: Sequence[ast.AST]) -> None:
        self._write(args.defaults, args.kw_defaults)
        kinds = (args.posonlyargs, args.args, [args.vararg], args.kwonlyargs, [args.kwarg])
        names = [[each and each.arg for each in kind] for kind in kinds]
        own: dict[str, Name | None] = {name: None for kind in names for name in kind if name}
        outside, self._in_class = self._in_class, False
        self._scopes.append(_bound(body, self._module.package) | own)
        self._write(names, list(body))
        self._scopes.pop()
        self._in_class = outside
        self._pieces.append(")")

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._pieces.append(f"ClassDef({self._called(node.name)} ")
        outside, self._in_class = self._in_class, True
        self._write(node.decorator_list, node.bases, node.keywords, node.body)
        self._in_class = outside
        self._pieces.append(")")

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> None:
        self._pieces.append(f"{type(node).__name__}(")
        first, *others = node.generators
        self._write(first.iter)  # in the scope outside
        self._scopes.append(_bound([each.target for each in node.generators], self._module.package))
        self._write(first.target, first.ifs, first.is_async, [[e.target, e.iter, e.ifs, e.is_async] for e in others])
        self._write(*([node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]))
        self._scopes.pop()
        self._pieces.append(")")

    visit_ListComp = visit_SetComp = visit_GeneratorExp = visit_DictComp = _comprehension

    # what has no meaning

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # a docstring
            self.generic_visit(node)

    def visit_Pass(self, node: ast.stmt) -> None:
        pass

    visit_Import = visit_ImportFrom = visit_Pass

    def visit_If(self, node: ast.If) -> None:
        if _for_type_checkers(node):
            self._write(*node.orelse)
        else:
            self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if self._in_class:
            self.generic_visit(node)
        elif node.value:
            self._write(ast.Assign(targets=[node.target], value=node.value))

    def visit_Raise(self, node: ast.Raise) -> None:
        raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        self._pieces.append("Raise(")
        self._write(raised, node.cause)
        self._pieces.append(")")
