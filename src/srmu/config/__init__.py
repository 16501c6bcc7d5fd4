"""What a run is told: settings, presets, acceptance criteria."""
