"""Baselines, one file each: those of the paper, and others that readers would ask for."""

from __future__ import annotations
