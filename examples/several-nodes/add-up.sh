#!/bin/sh
# Each node adds up a part of the numbers. The main node collects the sums of the others, and writes the result.
set -eu

node=$AWS_BATCH_JOB_NODE_INDEX
nodes=$AWS_BATCH_JOB_NUM_NODES
sum=$(awk -v nodes="$nodes" -v node="$node" 'NR % nodes == node { sum += $1 } END { print sum + 0 }' "$INPUT_FILE_PATH")
echo "node $node of $nodes: $sum"

if [ "$node" -ne "$AWS_BATCH_JOB_MAIN_NODE_INDEX" ]; then
    # The main node starts first, but it may not listen yet.
    until echo "$sum" | nc -w 10 "$AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS" $((7000 + node)); do
        sleep 1
    done
    exit
fi

# An input that never ends: at its end, nc would close the connection before the other node has sent its sum.
open=$(mktemp -u)
mkfifo "$open"
other=0
while [ "$other" -lt "$nodes" ]; do
    if [ "$other" -ne "$node" ]; then
        sum=$((sum + $(nc -l -p $((7000 + other)) <> "$open")))
    fi
    other=$((other + 1))
done
echo "$sum" > "$TMP_OUTPUT_DIR/${INPUT_FILE_PATH##*/}.sum"
