"""Files of other tools from the tables of mien: subtitles, ELAN, BORIS, Label Studio and FiftyOne."""
