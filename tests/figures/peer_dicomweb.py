"""dicomweb-client as a sender, in an environment of its own: ten instances in each request, over one connection."""

from pathlib import Path

from dicomweb_client.api import DICOMwebClient  # type: ignore[import-not-found,unused-ignore]
from pydicom import dcmread

from tests.figures.answering import Job, answer_jobs, timed

TOGETHER = 10


def work(job: Job) -> Job:
    paths = sorted(Path(job["folder"]).iterdir())
    client = DICOMwebClient(url=f"http://127.0.0.1:{job['port']}/dicom-web")
    stored = 0

    def send() -> None:
        nonlocal stored
        for start in range(0, len(paths), TOGETHER):
            answer = client.store_instances([dcmread(path) for path in paths[start : start + TOGETHER]])
            stored += len(answer.ReferencedSOPSequence)

    answer = timed(send)
    return answer if stored == len(paths) else {"trouble": f"{stored} of {len(paths)} stored"}


if __name__ == "__main__":
    answer_jobs(work)
