"""What the learners that adapt share: their settings, their networks, the inner loop, and how they classify."""
