//! What recorded sessions are about: names, sizes and numbers known from the commands that were typed.
