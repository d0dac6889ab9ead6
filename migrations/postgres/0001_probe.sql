-- One row, touched and rolled back by readiness probes: proof that a write would work. Nobody reads it.
create table probe (
    tried bigint not null
);

insert into probe (tried) values (0);
