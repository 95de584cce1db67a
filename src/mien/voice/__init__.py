"""Speech in audio: decoding, voice activity, log-mel and prosody features, and perceived vocal expression."""
