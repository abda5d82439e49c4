"""Folders as clinics bring them: a study, two patients, a disc with a viewer on it."""

from collections.abc import Iterator
from pathlib import Path

import pydicom

from relaypacs.demo.phantom import generate_study


class Studies:
    """Writes studies below one folder; each has UIDs of its own."""

    def __init__(self, folder: Path, numbers: Iterator[int]) -> None:
        self.folder = folder
        self.numbers = numbers

    def write(self, *, slices: int = 6, edge: int = 64, patient: str = "", name: str = "") -> Path:
        """A study in a folder of its own.

        Args:
            edge: pixels; a slice has about 2 * edge² bytes.
            patient: its name, if it shall not be the phantom's.
        """
        seed = next(self.numbers)
        folder = self.folder / (name or f"ST{seed}")
        paths = generate_study(folder, slices=slices, rows=edge, columns=edge, seed=seed)
        if patient:
            for path in paths:
                rename(path, patient)
        return folder

    def disc(self, *, slices: int = 4) -> Path:
        """A whole disc: a study, and all that lies beside it."""
        self.write(slices=slices, name="DICOM")
        (self.folder / "AUTORUN.INF").write_text("[autorun]\nopen=viewer.exe\n")
        (self.folder / "viewer.exe").write_bytes(b"MZ\x90\x00" + bytes(500))
        (self.folder / "notes.txt").write_text("Dear colleague, please find enclosed the images of the left knee.\n")
        (self.folder / "empty.dcm").touch()
        return self.folder


def rename(path: Path, patient: str) -> None:
    dataset = pydicom.dcmread(path)
    dataset.PatientName = patient
    dataset.PatientID = f"ID-{patient[:3].upper()}"
    dataset.save_as(path)


def truncate(path: Path) -> None:
    """As a disc with a scratch gives it back."""
    path.write_bytes(path.read_bytes()[:-1000])
