"""Change the code in one place at a time and see whether a test fails: what survives, no test tells apart.

    python tests/campaign/mutants.py deepcv/model/energy.py tests/model/test_energy.py

The tests are collected once; each mutant runs in a fork of that process, until a test fails or its time is over.
Changed are operators, comparisons, numbers and conditions within functions; the defaults of settings are data.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType

import pytest
from _pytest.runner import runtestprotocol

SECONDS = 30
"""CPU time of a mutant; one that never ends is killed in both senses."""

OPERATORS = {
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult},
    **{ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.And: ast.Or, ast.Or: ast.And},
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq},
}


def changed(node: ast.AST) -> ast.AST | None:
    """A node's mutant, if it has one."""
    node = copy.deepcopy(node)
    if isinstance(node, ast.BinOp | ast.AugAssign | ast.BoolOp) and type(node.op) in OPERATORS:
        node.op = OPERATORS[type(node.op)]()
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in OPERATORS:
        node.ops[0] = OPERATORS[type(node.ops[0])]()
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        node.value = not node.value
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        node.value = node.value + 1 if isinstance(node.value, int) else node.value * 1.5
    elif isinstance(node, ast.UnaryOp):
        return node.operand
    elif isinstance(node, ast.If | ast.IfExp):
        node.test = ast.UnaryOp(ast.Not(), node.test)
    else:
        return None
    return node


class Replace(ast.NodeTransformer):
    """Replaces the node of a number, counted as `visit` comes by; `was` says which."""

    def __init__(self, number: int):
        self.number, self.depth, self.was = number, 0, ""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self.depth += 1
        node.body = [self.visit(line) for line in node.body]
        self.depth -= 1
        return node

    def visit_Raise(self, node: ast.Raise) -> ast.Raise:  # the words of an error
        return node

    def visit(self, node: ast.AST) -> ast.AST:
        if self.depth and (new := changed(node)):
            self.number -= 1
            if self.number == -1:
                self.was = f"{node.lineno}: {ast.unparse(node).splitlines()[0]}"
                return ast.copy_location(new, node)
        return super().visit(node)


def mutants(source: str) -> Iterator[tuple[str, CodeType]]:
    """Each mutant of a module: the place and what stood there, and the module's code."""
    for number in range(10**6):
        replace = Replace(number)
        tree = ast.fix_missing_locations(replace.visit(ast.parse(source)))
        if not replace.was:
            return
        yield replace.was, compile(tree, "mutant", "exec")


def codes(code: CodeType) -> Iterator[CodeType]:
    """Those of a module's functions and of its classes' methods."""
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield each
            yield from codes(each)


def put_in(module, mutant: CodeType) -> None:
    """Give the module's functions their mutants' code, so that whoever imported them has it."""
    new = {each.co_qualname: each for each in codes(mutant)}
    for owner in (module, *(each for each in vars(module).values() if isinstance(each, type))):
        for value in vars(owner).values():
            function = getattr(value, "__func__", getattr(value, "fget", value))
            while hasattr(function, "__wrapped__"):
                function = function.__wrapped__
            old = getattr(function, "__code__", None)
            if old and getattr(function, "__module__", "") == module.__name__ and old.co_qualname in new:
                function.__code__ = new[old.co_qualname]


class Campaign:
    """A pytest plugin that runs the tests once for each mutant, in place of once."""

    def __init__(self, path: Path):
        self.path, self.killed, self.survivors = path, 0, []

    def pytest_runtestloop(self, session) -> bool:
        module = importlib.import_module(".".join(self.path.with_suffix("").parts))
        source = self.path.read_text(encoding="utf-8")
        if self._fails(session, module, compile(source, "as it is", "exec")):
            raise pytest.UsageError("the tests fail without a mutant, too")
        for was, code in mutants(source):
            if self._fails(session, module, code):
                self.killed += 1
            else:
                self.survivors.append(was)
                print(f"{self.path}:{was}", flush=True)
        return True

    def _fails(self, session, module, code: CodeType) -> bool:
        child = os.fork()
        if child:
            return os.waitpid(child, 0)[1] != 0
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        put_in(module, code)
        failed = any(report.failed for item in session.items for report in runtestprotocol(item, log=False))
        os._exit(failed)


def main() -> None:
    """Print the survivors and the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("module", type=Path)
    parser.add_argument("tests", nargs="+", help="as for pytest; -k and -m, too")
    given, options = parser.parse_known_args()
    campaign = Campaign(given.module)
    pytest.main(["-q", "-s", "-p", "no:cacheprovider", "--no-header", *given.tests, *options], plugins=[campaign])
    spent = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    print(f"{given.module}: {campaign.killed} killed, {len(campaign.survivors)} survived; {spent:.0f} CPU seconds")


if __name__ == "__main__":
    sys.exit(main())
