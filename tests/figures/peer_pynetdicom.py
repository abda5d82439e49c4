"""Plain pynetdicom as a sender: one association, `send_c_store` for each file, as its documentation shows."""

from pathlib import Path

from pydicom import Dataset, dcmread
from pynetdicom import AE
from pynetdicom.association import Association

from tests.figures.answering import Job, answer_jobs, timed

TRIES = 20  # it loses an answer now and then and gives its association up; whoever uses it sends again


class Sender:
    """One association at a time, a new one where the last was lost."""

    def __init__(self, job: Job) -> None:
        self._job, self._association = job, self._associate(job)

    @staticmethod
    def _associate(job: Job) -> Association:
        entity = AE(ae_title="PLAIN")
        entity.dimse_timeout = 2  # seconds; as it comes it would wait 30 for an answer that it has lost
        for sop_class, syntax in job["pairs"]:
            entity.add_requested_context(sop_class, syntax)
        return entity.associate("127.0.0.1", job["port"], ae_title=job["ae"], max_pdu=0)

    def send_all(self) -> None:
        for path in sorted(Path(self._job["folder"]).iterdir()):
            self._send(dcmread(path))
        self._association.release()

    def _send(self, dataset: Dataset) -> None:
        for _ in range(TRIES):
            if not self._association.is_established:
                self._association = self._associate(self._job)
            status = self._association.send_c_store(dataset)
            if "Status" in status and status.Status == 0:
                return
        raise RuntimeError("an instance was not stored")


def work(job: Job) -> Job:
    return timed(lambda: Sender(job).send_all())


if __name__ == "__main__":
    answer_jobs(work)
