-- The most images that one request may ask for, at each level.
ALTER TABLE accounts ADD COLUMN max_images_per_request BIGINT;
