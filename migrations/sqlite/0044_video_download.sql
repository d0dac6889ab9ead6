-- Whether others than its owner may take the replay home as a file: as the host wants it for the show to come, and as the owner
-- wants it for the video there is. Nobody could before this step.
alter table session add column allow_download integer not null default 0;
alter table video add column allow_download integer not null default 0;
