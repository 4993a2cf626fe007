"""What is the same is asked once: exact copies, near copies, the groups they form, and answers spread back to rows."""
