"""The systems of the literature, one file each, behind one interface (`base.py`)."""
