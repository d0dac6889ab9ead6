-- Whether media has made a picture of a show: from then on its address is told. Written by the session slice.
alter table session add column has_thumbnail boolean not null default false;

-- The same of its replay. Written when the show ends, and by the session slice for a picture that comes after.
alter table video add column has_thumbnail boolean not null default false;
