"""The entry point: signals are handled before anything heavy is imported. `python -m fastrcaps_dse` is `fastrcaps-dse`."""

from fastrcaps_dse import interruption


def main() -> None:
    """Run the command line."""
    try:
        interruption.watch()
        from fastrcaps_dse.cli import main as run

        run()
    except KeyboardInterrupt:
        interruption.leave()
    except SystemExit:
        if interruption.was_interrupted():
            interruption.leave()
        interruption.ignore()  # what is left is Python's own end
        raise


if __name__ == "__main__":
    main()
