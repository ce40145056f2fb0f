"""Constitutions and models"""
