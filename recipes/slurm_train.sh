#!/bin/sh
# Train a recipe on several machines under Slurm:
#     sbatch recipes/slurm_train.sh recipes/table1_ucf51_1shot.yaml
# The folders of data and runs are to be seen by all machines. What was stopped, by the time limit too, goes on where it
# was when the same line is sent again: the state is saved on SIGTERM, which comes three minutes before the limit.
#SBATCH --job-name=asgm
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@180
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log

first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
# One torchrun a machine; each starts a process a GPU, and ends the others where one has ended. srun is told the cores
# again, since Slurm 22.05 it does not take them over.
exec srun --cpus-per-task="$SLURM_CPUS_PER_TASK" --kill-on-bad-exit=1 torchrun \
    --nnodes="$SLURM_JOB_NUM_NODES" --nproc-per-node="$SLURM_GPUS_ON_NODE" --rdzv-id="$SLURM_JOB_ID" \
    --rdzv-backend=c10d --rdzv-endpoint="$first:${ASGM_PORT:-29500}" \
    -m asgmcli train "$@" --resume
