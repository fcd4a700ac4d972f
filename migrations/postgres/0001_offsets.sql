-- How far each pipeline has come, in the transactions that wrote the rows; the epoch says who may move it on.
CREATE TABLE IF NOT EXISTS "rowfall_offsets" (
    "pipeline" text NOT NULL,
    "topic" text NOT NULL,
    "partition" integer NOT NULL,
    "epoch" bigint NOT NULL,
    "next_offset" bigint,
    "updated_at" timestamp with time zone NOT NULL,
    PRIMARY KEY ("pipeline", "topic", "partition")
)
