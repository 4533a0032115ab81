"""Programs that measure and check `surgery` at full size; not part of the package."""
