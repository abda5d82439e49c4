"""What RelayPACS knows of DICOM Part 10 files: bytes in, dataclasses out; no Django, no Celery."""
