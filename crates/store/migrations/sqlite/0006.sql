-- A message is of the present epoch, or is refused: nothing else is left to remember.
ALTER TABLE conversations DROP COLUMN safe_epoch;
ALTER TABLE conversations DROP COLUMN departed;
