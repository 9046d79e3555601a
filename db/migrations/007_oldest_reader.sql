-- oldest-reader: 7
--
-- Which releases may still serve on a schema that is newer than they are.
--
-- An old release cannot know what later migrations do, so the database tells it: every migration from here on leaves in
-- its row the oldest schema whose release it is still fit for. The line above is where it says so. A release that finds
-- the database newer than itself serves when no row asks for a newer one. Rows without a number, those before this one,
-- ask for a release that knows them.

ALTER TABLE schema_migrations
  ADD COLUMN oldest_reader integer CHECK (oldest_reader BETWEEN 1 AND version);

COMMENT ON COLUMN schema_migrations.oldest_reader IS
  'Releases that know at least the migration of this number may serve once this one is applied; NULL: only those that know this one';
