"""Where the models of a run are mined: in this process, in several of this machine, or on a Ray cluster.

An executor takes the planned models and gives an outcome for each, as they end. What happens to one model is written
once, in `one_model.py`; executors differ only in where it happens. What lives here:

    work.py          what an executor takes and gives
    one_model.py     a model through the chain, and what becomes of its failure
    choose.py        which executor a request means
    here.py          one model after the other in this process
    processes.py     several processes of this machine, cores and GPUs divided among them (`shares.py`)
    ray_cluster.py   tasks on Ray, with what they need (`resources.py`); `ray_start.py` joins or starts a cluster
    worker.py        what a process or a task does with a model
    lost.py          workers that vanish
    run_log.py       the log of a run
    throttle.py      fewer events of progress, where they cost something
    mailbox.py       how events come back from Ray

Nothing is imported here: a process of Ray that only carries events should not load PyTorch.
"""
