"""LocalTraining of Algorithm 1: minimises L_k(X_k; φ(t-1)) by Adam over augmented mini-batches.

From the command down to one step:

    operations.train_round.train_round           a site's part of a round, as `fedcli train-round`
    site.contribution.contribute                 LocalTraining(φ(t-1)) → (Δφ(t), n_k): trains, and publishes the update
    site.local_round.run_local_round             receives φ(t-1), scores it, trains, scores every epoch's model, returns Δφ(t)
    site.training_job.run_job                    trains in this process, and in the others that share the work
    learning.training.local_training             LocalTraining.run: trains epoch by epoch
    ... LocalTraining._train_epoch               takes the steps of one epoch
    ... LocalTraining._take_step                 takes one step: logits, loss, gradient, Adam

`fedcli finetune` calls `run_job` directly. In a step, `sampling` draws the images of a mini-batch, `batch_loader` reads them and
`augmentation` changes them; `losses` are minimised, FedProx's term among them, and `optimizers` holds Adam. Around the steps,
`checkpoint` saves the state, `data_parallel` shares the work between processes, and `throughput` measures the speed.

`private` is the other way to train: noisy steps on random patients, by the settings in `mechanism`.
"""
