-- How far each pipeline has written the partitions that it reads, and in which epoch their owner took them over.
CREATE TABLE IF NOT EXISTS rowfall_offsets (
    pipeline varchar(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    topic varchar(272) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    `partition` int NOT NULL,
    epoch bigint NOT NULL,
    next_offset bigint,
    updated_at datetime NOT NULL,
    PRIMARY KEY (pipeline, topic, `partition`)
) ENGINE=InnoDB
