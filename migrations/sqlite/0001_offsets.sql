-- How far each pipeline has come, in the transactions that wrote the rows; the epoch says who may move it on.
CREATE TABLE IF NOT EXISTS "rowfall_offsets" (
    "pipeline" TEXT NOT NULL,
    "topic" TEXT NOT NULL,
    "partition" INTEGER NOT NULL,
    "epoch" INTEGER NOT NULL,
    "next_offset" INTEGER,
    "updated_at" DATETIME NOT NULL,
    PRIMARY KEY ("pipeline", "topic", "partition")
) WITHOUT ROWID
