"""What two texts share: duplicates within a corpus (`dedup`), benchmark items inside it (`decontaminate`), equal URLs (`urls`)."""
