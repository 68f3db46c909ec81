"""The methods that the paper compares with, and those a reader would ask for, a file each."""

from __future__ import annotations
