"""The layouts in which published checkpoints come. A layout a file; `loading.py` beside this package picks one."""
