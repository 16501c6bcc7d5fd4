"""What a run is given: settings, presets, acceptance criteria."""
